"""A scorer on a GPU that fails as files in a folder say, with the faults that `pipeline` tells of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dicom_node.scorer_loading import ScorerUnusableError
from pipeline.computation import Computation, DeviceFault, DeviceFaultError
from pipeline.result import FaceImages, Provenance, Rejection, Scored
from tests.sample_score import pattern, provenance, score


@dataclass
class FailingDevice:
    """ "no driver": it cannot be used. "fault": each photograph meets the fault that stands in the file.

    memory: for how many photographs; a batch of more makes the next ones smaller.
    """

    folder: Path
    memory: int = 4
    after: DeviceFault | None = None

    def __post_init__(self) -> None:
        self.most_at_once = 1 if self.after else 4
        self.fault = self.after
        if not self.after and (self.folder / "no driver").exists():
            raise ScorerUnusableError("scoring.device: cannot be used here", DeviceFault.UNUSABLE)

    @property
    def provenance(self) -> Provenance:
        return provenance()

    def score_files(self, paths: Sequence[Path]) -> list[Scored | Rejection]:
        told = self.folder / "fault"
        if not self.after and told.exists():
            raise DeviceFaultError(DeviceFault(told.read_text()))
        if len(paths) > self.memory:
            self.most_at_once, self.fault = self.memory, DeviceFault.OUT_OF_MEMORY
        made = Computation("cpu" if self.after else "gpu", min(len(paths), self.most_at_once), self.fault)
        scored = replace(score(provenance=self.provenance), computation=made)
        return [Scored(scored, FaceImages(*[pattern(8, 8)] * 4)) for _ in paths]

    def blend_file(self, path: Path, normalized: np.ndarray) -> np.ndarray:
        return normalized
