"""Photographs that wait for the scorer at the same time, given to it together.

Several studies are under way at once where the device gains from batches. Whoever finds the scorer free takes
along what has come to wait meanwhile; nobody waits for a batch to fill.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_node.scorer_loading import Scorer
from dicom_node.scoring_process import DeviceFailedError, ScoringError
from pipeline.result import Provenance, Rejection, Scored


class _Waiting:
    """A photograph that waits for its result."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.result: Scored | Rejection | ScoringError | None = None


class ScoringBatches:
    """A `StudyScorer` for any number of threads, before a scorer that is for one at a time."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._turn = threading.Lock()
        self._waiting: deque[_Waiting] = deque()

    @property
    def provenance(self) -> Provenance:
        """What decides a score besides the pixels."""
        return self._scorer.provenance

    @property
    def most_at_once(self) -> int:
        """How many photographs are scored together at most."""
        return self._scorer.most_at_once

    def score_files(self, paths: Sequence[Path], /) -> list[Scored | Rejection | Exception]:
        """Score DICOM files, beside those of other threads; see `StudyScorer`."""
        mine = [_Waiting(path) for path in paths]
        self._waiting.extend(mine)
        while any(one.result is None for one in mine):
            with self._turn:
                if any(one.result is None for one in mine):
                    self._score_next()
        return [one.result for one in mine if one.result is not None]

    def blend_file(self, path: Path, normalized: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        """See `Scorer.blend_file`."""
        return self._scorer.blend_file(path, normalized)

    def _score_next(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(self.most_at_once, len(self._waiting)))]
        try:
            self._score(batch)
        except DeviceFailedError as error:
            for one in batch:
                one.result = error
        except ScoringError as error:
            if len(batch) == 1:
                batch[0].result = error
                return
            # Which of them it was: nobody else's study shall fail for it.
            for one in batch:
                self._score_alone(one)
        finally:
            for one in batch:
                if one.result is None:
                    one.result = ScoringError("the scoring was cut off")

    def _score_alone(self, one: _Waiting) -> None:
        try:
            self._score([one])
        except ScoringError as error:
            one.result = error

    def _score(self, batch: Sequence[_Waiting]) -> None:
        results = self._scorer.score_files([one.path for one in batch])
        for one, result in zip(batch, results, strict=True):
            one.result = result
