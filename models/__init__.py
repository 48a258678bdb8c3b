"""Everything that has weights: catalog, generators, perceptual metric, regressors."""

import os

# OpenMP's threads spin while they wait for each other; with anything else running on the machine that
# takes the cores away from the work itself (measured: a step six times as slow beside two busy
# processes). A short spin costs nothing on an idle machine. The library reads this once, when torch is
# first imported, so it is set here, before any module of ours imports torch.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
