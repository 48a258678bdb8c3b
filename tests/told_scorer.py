"""A scorer that does what the name of the file says, to see what becomes of the process that it runs in."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_node.scorer_loading import ScorerUnusableError
from pipeline.computation import DeviceFault
from pipeline.result import FaceImages, Provenance, Rejection, RejectionReason, Scored
from tests.sample_score import pattern, provenance, score

SECRET = "TEST^PATIENT"


@dataclass(frozen=True)
class ToldScorer:
    """Every new one leaves a line in the file `born`: the id of its process."""

    born: Path
    unusable: str = ""
    after: DeviceFault | None = None
    loads_seconds: float = 0.0

    @property
    def most_at_once(self) -> int:
        return 1

    def __post_init__(self) -> None:
        if self.unusable == "raise":
            raise ValueError(SECRET)
        if self.unusable == "crash":
            signal.raise_signal(signal.SIGSEGV)
        if self.unusable:
            raise ScorerUnusableError(self.unusable)
        with self.born.open("a") as file:
            file.write(f"{os.getpid()}\n")
        if self.loads_seconds:
            time.sleep(self.loads_seconds)

    @property
    def provenance(self) -> Provenance:
        """With the file `other weights` beside `born`, that of other weights."""
        other = self.born.with_name("other weights").exists()
        return provenance(generator_sha256=("c" if other else "a") * 64)

    def score_files(self, paths: Sequence[Path]) -> list[Scored | Rejection]:
        return [self.score_file(path) for path in paths]

    def score_file(self, path: Path) -> Scored | Rejection:
        match path.name:
            case "crash":
                signal.raise_signal(signal.SIGSEGV)  # as a decoder written in C would
            case "raise":
                raise ValueError(SECRET)
            case "sleep":
                time.sleep(60)
            case "hold":
                ctypes.PyDLL(None).sleep(60)  # native code that does not let go of the interpreter's lock
            case "priority":
                core, niceness = resource.getrlimit(resource.RLIMIT_CORE), os.nice(0)
                return Rejection(RejectionReason.NO_FACE, f"niceness {niceness}, core {core}")
        return Scored(score(provenance=self.provenance), FaceImages(*[pattern(64, 64)] * 4))

    def blend_file(self, path: Path, normalized: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return normalized
