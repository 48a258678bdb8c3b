"""`python -m tests.small_node CONFIG LOG SECONDS SEED`: `facenorm serve` with the small scorer."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    # Not above: the scoring process imports this module, too, and needs none of it.
    from dicom_node.commands.serve import run_node
    from dicom_node.settings import load_settings
    from tests.small_scorer import SmallScorer

    config, log, seconds, seed = sys.argv[1:5]
    scorer = partial(SmallScorer, Path(log), float(seconds), int(seed))
    path = Path(config)
    sys.exit(run_node(load_settings(path), scorer, reread=lambda: load_settings(path)))
