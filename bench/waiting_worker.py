"""A real worker whose scoring is a fixed waiting time: what is measured with it is the queue.

python -m bench.waiting_worker CONFIG SECONDS STATUS_PORT
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.given_score import NoGenerator
from pipeline.result import Rejection, RejectionReason, Scored


@dataclass(frozen=True)
class WaitingScorer(NoGenerator):
    """Rejects every photograph, so that no pictures are drawn."""

    seconds: float

    def score_files(self, paths: Sequence[Path]) -> list[Scored | Rejection]:
        """Wait for each; none is even opened."""
        time.sleep(self.seconds * len(paths))
        nothing = Rejection(RejectionReason.NO_FACE, "no face was looked for", 64, 48, self.provenance, {})
        return [nothing for _ in paths]


def main() -> None:
    # Not above: the scoring process imports this module, too, and needs none of it.
    from dicom_node.commands.worker import run_worker
    from dicom_node.settings import load_settings

    config, seconds, port = sys.argv[1:4]
    scorer = partial(WaitingScorer, float(seconds))
    sys.exit(run_worker(load_settings(Path(config)), scorer, status_port=int(port)))


if __name__ == "__main__":
    main()
