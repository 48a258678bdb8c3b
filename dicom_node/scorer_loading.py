"""The scorer that the settings ask for; imports torch only when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dicom_node.settings_sections import Scoring
from pipeline.computation import DeviceFault
from pipeline.quality_thresholds import QualityThresholds
from pipeline.result import Provenance, Rejection, Scored


class Blender(Protocol):
    """Puts a normalized face back."""

    def blend_file(self, path: Path, normalized: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        """Return the `in_place` picture of a photograph scored before, whose `normalized` one was kept.

        Raises what reading the file and finding the face raise, which once went well.
        """
        ...


class Scorer(Blender, Protocol):
    """Photographs in, scores or rejections out."""

    @property
    def provenance(self) -> Provenance:
        """What decides a score besides the pixels; the same for every photograph."""
        ...

    @property
    def most_at_once(self) -> int:
        """From how many photographs together the device gains; it may become fewer."""
        ...

    def score_files(self, paths: Sequence[Path], /) -> list[Scored | Rejection]:
        """Score DICOM files; a photograph that cannot be scored is a `Rejection`, never an exception.

        Raises DeviceFaultError: it may go well on another device.
        """
        ...


class StudyScorer(Blender, Protocol):
    """What the steps of a study ask; an error belongs to one photograph and not to those beside it."""

    @property
    def provenance(self) -> Provenance:
        """See `Scorer`."""
        ...

    @property
    def most_at_once(self) -> int:
        """See `Scorer`."""
        ...

    def score_files(self, paths: Sequence[Path], /) -> Sequence[Scored | Rejection | Exception]:
        """Score DICOM files; where there is no result, the exception is returned in its place."""
        ...


class ScorerFactory(Protocol):
    """Makes the scorer, in the scoring process."""

    def __call__(self, *, after: DeviceFault | None = None) -> Scorer:
        """Make it for the device of the settings; after a fault of that device for the CPU.

        Raises ScorerUnusableError, and DeviceFaultError for a GPU that fails meanwhile.
        """
        ...


class ScorerUnusableError(Exception):
    """No scorer can be made; the text says why and what to do, and goes to the administrator.

    fault: of the device, where that is why.
    """

    def __init__(self, text: str, fault: DeviceFault | None = None) -> None:
        super().__init__(text)
        self.fault = fault


def refuse_missing_files(scoring: Scoring) -> None:
    """Look, without torch and at once, whether the files are there that `load_scorer` will read.

    Raises ScorerUnusableError.
    """
    from models.cache import WeightsMissingError, cached_path
    from models.catalog import CATALOG, GENERATOR
    from models.generator_card import GeneratorError
    from models.generator_files import generator_files, is_official

    try:
        if not is_official(scoring.generator):
            generator_files(scoring.generator)
        for name, entry in CATALOG.items():
            if name != GENERATOR and not entry.optional:
                for file in entry.files:
                    cached_path(name, file)
    except (WeightsMissingError, GeneratorError) as error:
        raise ScorerUnusableError(str(error)) from None
    if scoring.regressor and not Path(scoring.regressor).is_file():
        raise ScorerUnusableError(f"scoring.regressor: there is no file {Path(scoring.regressor).absolute()}")


def load_scorer(scoring: Scoring, quality: QualityThresholds, *, after: DeviceFault | None = None) -> Scorer:
    """Load the weights and compose the scorer; takes seconds. after: see `ScorerFactory`.

    Raises:
        ScorerUnusableError: weights are missing or do not fit, or the device cannot be used.
        DeviceFaultError: the device failed meanwhile.

    """
    # Imported here: torch takes seconds and half a gigabyte, and the node's own process wants none of it.
    from models.cache import WeightsMissingError
    from models.generator import DeviceUnusableError
    from models.generator_card import GeneratorError
    from models.regressor import RegressorError
    from pipeline.batch_scoring import build_batch_scorer
    from pipeline.profile import ProfileError

    try:
        return build_batch_scorer(
            scoring.generator,
            scoring.profile,
            scoring.device,
            scoring.regressor,
            scoring.seed,
            quality=quality,
            most_at_once=scoring.batch,
            after=after,
        )
    except DeviceUnusableError as error:
        raise ScorerUnusableError(str(error), DeviceFault.UNUSABLE) from None
    except (WeightsMissingError, GeneratorError, RegressorError, ProfileError) as error:
        raise ScorerUnusableError(str(error)) from None
