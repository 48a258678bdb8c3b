"""A deterministic scorer for tests of the node: no weights, but the scorer's contract to the letter.

What it does is written to a log file, one line per beginning and end, so that tests can count
executions across killed processes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread

from pipeline.computation import Computation, DeviceFault, DeviceFaultError
from pipeline.result import (
    FaceImages,
    Features,
    Provenance,
    Rejection,
    RejectionReason,
    Score,
    Scored,
)

_SIDE = 32


@dataclass(frozen=True)
class SmallScorer:
    """Scores a photograph by its mean brightness; one darker than 10 has no face."""

    log: Path
    seconds: float = 0.0
    seed: int = 0
    most_at_once: int = 1
    # Of the device, at every photograph until the CPU is taken.
    fault: DeviceFault | None = None
    after: DeviceFault | None = None

    @property
    def provenance(self) -> Provenance:
        return Provenance(
            generator="small-test-generator",
            generator_sha256="1" * 64,
            metric="none",
            regressor="brightness",
            regressor_sha256="2" * 64,
            regressor_is_synthetic=True,
            profile="fast",
            seed=self.seed,
            software_version="0",
            settings={"steps": 1},
        )

    def score_file(self, path: Path) -> Scored | Rejection:
        dataset = dcmread(path)
        uid = str(dataset.SOPInstanceUID)
        self._note(f"begin {uid}")
        time.sleep(self.seconds)
        picture = np.frombuffer(dataset.PixelData, np.uint8).reshape(dataset.Rows, dataset.Columns, 3)
        result = self._result(picture)
        self._note(f"end {uid}")
        return result

    def score_files(self, paths: Sequence[Path]) -> list[Scored | Rejection]:
        self._note(f"batch {len(paths)}")
        if self.fault and not self.after:
            raise DeviceFaultError(self.fault)
        return [self.score_file(path) for path in paths]

    def blend_file(self, path: Path, normalized: np.ndarray) -> np.ndarray:
        dataset = dcmread(path)
        self._note(f"blend {dataset.SOPInstanceUID}")
        return np.frombuffer(dataset.PixelData, np.uint8).reshape(dataset.Rows, dataset.Columns, 3)

    def _result(self, picture: np.ndarray) -> Scored | Rejection:
        rows, columns = picture.shape[:2]
        brightness = float(picture.mean())
        seconds = {"decode": 0.01, "normalize": self.seconds}
        if brightness < 10:
            return Rejection(
                RejectionReason.NO_FACE, "no face was found", rows, columns, self.provenance, seconds
            )
        image = np.full((_SIDE, _SIDE, 3), int(brightness), np.uint8)
        score = Score(
            value=1 + 6 * brightness / 255,
            uncertainty=0.5,
            features=Features(0.1, 0.2, 20.0, 0.3, 0.4),
            outline=((1.0, 1.0), (columns - 2.0, 1.0), (columns - 2.0, rows - 2.0), (1.0, 1.0)),
            rows=rows,
            columns=columns,
            provenance=self.provenance,
            seconds=seconds,
            computation=Computation("cpu", 1, self.after),
        )
        return Scored(score, FaceImages(image, image, image, image, image, picture))

    def _note(self, line: str) -> None:
        with self.log.open("a") as file:
            file.write(f"{line}\n")


def executions(log: Path, what: str) -> list[str]:
    """Return the UIDs of the lines that say `what` ("begin" or "end"), in order."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split()[1] for line in lines if line.split()[0] == what]
