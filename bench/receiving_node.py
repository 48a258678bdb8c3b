"""A whole node in a process of its own, for the bench of receiving; its own scoring is idle or always busy.

The bench's settings leave no study quiet long enough to be scored. Busy: one photograph after another is
scored all the same, in the node's scoring process, in a thread beside the one that answers the node.

    python -m bench.receiving_node CONFIG SCORER      SCORER: idle, a generator's name, or weights of one
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.given_score import GivenScorer
from pipeline.computation import DeviceFault


def idle_scorer(*, after: DeviceFault | None = None) -> GivenScorer:
    """Return a scorer that is never asked."""
    return GivenScorer()


def busy_scorer(generator: str, *, after: DeviceFault | None = None) -> GivenScorer:
    """Return a scorer that is never asked, while a daemon thread does nothing but score."""
    # Imported here: torch takes seconds, which the idle node need not wait for.
    from bench.scoring_load import scoring_loop

    loop: Callable[[], None] = scoring_loop(generator)

    def score() -> None:
        try:
            loop()
        finally:
            os._exit(1)  # a node that does not score must not pass for a busy one

    threading.Thread(target=score, name="busy scorer", daemon=True).start()
    return GivenScorer()


def main() -> None:
    # Not above: the scoring process imports this module, too, and needs none of it.
    from dicom_node.commands.serve import run_node
    from dicom_node.scorer_loading import ScorerFactory
    from dicom_node.settings import load_settings

    config, scorer = sys.argv[1:3]
    factory: ScorerFactory = idle_scorer if scorer == "idle" else partial(busy_scorer, scorer)
    sys.exit(run_node(load_settings(Path(config)), factory))


if __name__ == "__main__":
    main()
