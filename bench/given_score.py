"""A scorer that gives every photograph the same score at once: what is timed with it is everything else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.result import FaceImages, Features, Provenance, Rejection, Score, Scored

PROVENANCE = Provenance(
    generator="none",
    generator_sha256="0" * 64,
    metric="none",
    regressor="none",
    regressor_sha256="0" * 64,
    regressor_is_synthetic=True,
    profile="fast",
    seed=0,
    software_version="0",
)
_ROWS, _COLUMNS = 866, 1155  # one megapixel; reports only name the outline's place in it


@cache
def given_score() -> Scored:
    """Return a score with pictures of noise, 1024x1024, as a generator's would be."""
    picture = np.random.default_rng(1).integers(0, 256, (1024, 1024, 3), np.uint8)
    score = Score(
        value=4.0,
        uncertainty=0.5,
        features=Features(0.1, 0.2, 20.0, 0.3, 0.4),
        outline=((100.0, 80.0), (260.0, 80.0), (250.0, 300.0), (110.0, 300.0), (100.0, 80.0)),
        rows=_ROWS,
        columns=_COLUMNS,
        provenance=PROVENANCE,
        seconds={},
    )
    return Scored(score, FaceImages(picture, picture, picture, picture))


class NoGenerator:
    """What scorers have in common that look at no photograph; see `dicom_node.scorer_loading.Scorer`."""

    @property
    def provenance(self) -> Provenance:
        """That of no generator."""
        return PROVENANCE

    @property
    def most_at_once(self) -> int:
        """No more than one: what a batch would save is not measured with it."""
        return 1

    def blend_file(self, path: Path, normalized: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the normalized picture as it is."""
        return normalized


class GivenScorer(NoGenerator):
    """Gives every photograph the same score."""

    def __init__(self) -> None:
        self._scored = given_score()

    def score_files(self, paths: Sequence[Path]) -> list[Scored | Rejection]:
        """Return the score for each; none is even opened."""
        return [self._scored for _ in paths]
