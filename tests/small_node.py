"""`python -m tests.small_node CONFIG LOG SECONDS SEED [ROLE]`: `facenorm serve` with the small scorer.

ROLE: "--no-score", or "worker" for `facenorm worker`, whose status port follows, how many photographs its
device takes at once, and the fault that it has, if any.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    # Not above: the scoring process imports this module, too, and needs none of it.
    from dicom_node.commands.serve import run_node
    from dicom_node.commands.worker import run_worker
    from dicom_node.settings import load_settings
    from pipeline.computation import DeviceFault
    from tests.small_scorer import SmallScorer

    config, log, seconds, seed = sys.argv[1:5]
    scorer = partial(SmallScorer, Path(log), float(seconds), int(seed))
    path, role = Path(config), sys.argv[5:]
    if role[:1] == ["worker"]:
        fault = DeviceFault(role[3]) if role[3] else None
        scorer = partial(scorer, most_at_once=int(role[2]), fault=fault)
        sys.exit(run_worker(load_settings(path), scorer, status_port=int(role[1])))
    factory = None if role == ["--no-score"] else scorer
    sys.exit(run_node(load_settings(path), factory, reread=lambda: load_settings(path)))
