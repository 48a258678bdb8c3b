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

from bench.given_score import PROVENANCE
from pipeline.result import Provenance, Rejection, RejectionReason, Scored


@dataclass(frozen=True)
class WaitingScorer:
    """A `dicom_node.scorer_loading.Scorer` that rejects every photograph, so that no pictures are drawn."""

    seconds: float

    @property
    def provenance(self) -> Provenance:
        """That of no generator."""
        return PROVENANCE

    @property
    def most_at_once(self) -> int:
        """No more than one: what a batch would save is not measured here."""
        return 1

    def score_files(self, paths: Sequence[Path]) -> list[Scored | Rejection]:
        """Wait for each; none is even opened."""
        time.sleep(self.seconds * len(paths))
        nothing = Rejection(RejectionReason.NO_FACE, "no face was looked for", 64, 48, self.provenance, {})
        return [nothing for _ in paths]

    def blend_file(self, path: Path, normalized: object) -> object:
        """Return the picture as it is; never called after a rejection."""
        return normalized


def main() -> None:
    # Not above: the scoring process imports this module, too, and needs none of it.
    from dicom_node.commands.worker import run_worker
    from dicom_node.settings import load_settings

    config, seconds, port = sys.argv[1:4]
    scorer = partial(WaitingScorer, float(seconds))
    sys.exit(run_worker(load_settings(Path(config)), scorer, status_port=int(port)))  # type: ignore[arg-type] # blend_file is never called


if __name__ == "__main__":
    main()
