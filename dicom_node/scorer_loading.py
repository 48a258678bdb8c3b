"""The scorer that the settings ask for; imports torch only when it is made."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dicom_node.settings import Scoring
from pipeline.quality_thresholds import QualityThresholds
from pipeline.result import Provenance, Rejection, Scored


class Scorer(Protocol):
    """Photograph in, score or rejection out."""

    @property
    def provenance(self) -> Provenance:
        """What decides a score besides the pixels; the same for every photograph."""
        ...

    def score_file(self, path: Path, /) -> Scored | Rejection:
        """Score a DICOM file; a photograph that cannot be scored is a `Rejection`, never an exception."""
        ...

    def blend_file(self, path: Path, normalized: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        """Return the `in_place` picture of a photograph scored before, whose `normalized` one was kept.

        Raises what reading the file and finding the face raise, which once went well.
        """
        ...


class ScorerUnusableError(Exception):
    """No scorer can be made; the text says why and what to do, and goes to the administrator."""


def load_scorer(scoring: Scoring, quality: QualityThresholds) -> Scorer:
    """Load the weights and compose the scorer; takes seconds.

    Raises:
        ScorerUnusableError: weights are missing or do not fit, or the device cannot be used.

    """
    # Imported here: torch takes seconds and half a gigabyte, and the node's own process wants none of it.
    from models.cache import WeightsMissingError
    from models.generator_card import GeneratorError
    from models.regressor import RegressorError
    from pipeline.profile import ProfileError
    from pipeline.scoring import build_scorer

    try:
        return build_scorer(
            scoring.generator,
            scoring.profile,
            scoring.device,
            scoring.regressor,
            scoring.seed,
            quality=quality,
        )
    except (WeightsMissingError, GeneratorError, RegressorError, ProfileError) as error:
        raise ScorerUnusableError(str(error)) from None
