"""Everything that has weights: catalog, generators, perceptual metric, regressors."""

import os

# OpenMP's threads spin while they wait for each other; with anything else running on the machine that
# takes the cores away from the work itself (measured: a step three times as slow). The library reads
# this once, when torch is first imported, so it is set here, before any module of ours imports torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
