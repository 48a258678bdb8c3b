"""Photographs whose faces are normalized together, where the device gains from it.

Batches are of few sizes, which the last face fills up: a GPU records its steps for each shape once, and what
comes out for a face depends on the size of its batch, by rounding, but not on who is in it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.compared_candidates import Measurement
from pipeline.computation import Computation, DeviceFault, DeviceFaultError
from pipeline.device_faults import device_faults
from pipeline.locating import AlignedFace
from pipeline.locator_pool import Located, LocatorPool
from pipeline.photograph import read_photograph
from pipeline.quality_thresholds import QualityThresholds
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import Provenance, Rejection, Scored
from pipeline.scoring import PhotographScorer, Warnings, build_scorer
from pipeline.stopwatch import Stopwatch

BATCH_SIZES = (16, 4, 1)
"""From the largest: 16 photographs fill an H200, on which they need 20 GB."""


@dataclass(frozen=True, slots=True)
class _Face:
    """A face that is to be normalized. rgb: the photograph, uint8 (rows, columns, 3)."""

    rgb: NDArray[np.uint8]
    aligned: AlignedFace
    warnings: Warnings
    watch: Stopwatch


# Each takes up to half a gigabyte for a photograph of 24 megapixels.
_MOST_LOCATORS = 8

_Read = tuple[NDArray[np.uint8] | Rejection, Stopwatch]


class BatchScorer:
    """Scores photographs with one `PhotographScorer`, up to `most_at_once` of them together."""

    def __init__(
        self,
        scorer: PhotographScorer,
        *,
        most_at_once: int = 1,
        locators: LocatorPool | None = None,
        fault: DeviceFault | None = None,
    ) -> None:
        """locators: finds faces side by side. fault: why this is not the device that the settings ask for.

        Raises ValueError unless at least one photograph is taken at once.
        """
        if most_at_once < 1:
            raise ValueError(f"batches of {most_at_once}; they must hold a photograph")
        self._scorer, self._locators, self._fault = scorer, locators, fault
        self._most_at_once = most_at_once

    @property
    def provenance(self) -> Provenance:
        """What decides a score besides the pixels."""
        return self._scorer.provenance

    @property
    def device(self) -> str:
        """The device in words."""
        return self._scorer.device

    @property
    def most_at_once(self) -> int:
        """How many photographs are normalized together; fewer, once the device's memory did not suffice."""
        return self._most_at_once

    def score_files(self, paths: Sequence[Path]) -> list[Scored | Rejection]:
        """Score JPEG, PNG or DICOM files, in their order.

        Raises DeviceFaultError: the device is lost, or has no memory for a single photograph.
        """
        if len(paths) == 1 or self._most_at_once == 1:
            return [self._noted(self._scorer.score_file(path)) for path in paths]
        with ThreadPoolExecutor() as threads:
            reading = threads.map(_read, paths)
            located = self._locators.locate_in_files(paths) if self._locators else None
            return self._scored(list(reading), located)

    def score(self, photographs: Sequence[NDArray[np.uint8]]) -> list[Scored | Rejection]:
        """Score photographs, each uint8 (rows, columns, 3), in their order. Raises DeviceFaultError."""
        located = self._locators.locate(photographs) if self._locators else None
        return self._scored([(rgb, Stopwatch()) for rgb in photographs], located)

    def blend_file(self, path: Path, normalized: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `PhotographScorer.blend_file`."""
        return self._scorer.blend_file(path, normalized)

    def _scored(self, read: Sequence[_Read], located: Sequence[Located] | None) -> list[Scored | Rejection]:
        places: Sequence[Located | None] = located or [None] * len(read)
        found = [self._found(*one, place) for one, place in zip(read, places, strict=True)]
        faces = [one for one in found if isinstance(one, _Face)]
        measured = self._measured(faces)
        # OpenCV takes longer for a score's pictures than a GPU for all else, and threads can share that out.
        with ThreadPoolExecutor() as threads:
            scored = threads.map(self._finished, faces, measured)
            return [next(scored) if isinstance(one, _Face) else one for one in found]

    def _found(
        self, rgb: NDArray[np.uint8] | Rejection, watch: Stopwatch, located: Located | None
    ) -> _Face | Rejection:
        scorer = self._scorer
        if isinstance(rgb, Rejection):
            return scorer.rejected(rgb, watch)
        try:
            face, seconds = located or (scorer.measurer.locate(rgb, watch), {})
            watch.seconds |= seconds
            if isinstance(face, Rejection):
                return scorer.rejected(face, watch)
            return _Face(rgb, face, scorer.checked(face, rgb, watch), watch)
        except UnscorablePhotographError as error:
            return scorer.rejected(error.rejection, watch)

    def _measured(self, faces: Sequence[_Face]) -> list[tuple[Measurement, int]]:
        """Normalize and measure all faces; return each one's measurement and the size of its batch."""
        measured: list[tuple[Measurement, int]] = []
        while rest := faces[len(measured) :]:
            size = batch_size(len(rest), self._most_at_once)
            part, watch, found = rest[:size], Stopwatch(), None
            filled = [*part, *[part[-1]] * (size - len(part))]
            try:
                with device_faults():
                    found = self._scorer.measurer.measure_batch([face.aligned for face in filled], watch)
            except DeviceFaultError as error:
                if error.fault is not DeviceFault.OUT_OF_MEMORY or size == 1:
                    raise
            if found is None:  # not above: the error would still hold the batch, and its memory
                self._take_fewer(size)
                continue
            for face in part:
                face.watch.seconds |= {name: round(s / len(part), 4) for name, s in watch.seconds.items()}
            measured += [(one, size) for one in found[: len(part)]]
        return measured

    def _take_fewer(self, size: int) -> None:
        """Go on with the next smaller batches."""
        self._most_at_once = max(smaller for smaller in BATCH_SIZES if smaller < size)
        self._fault = DeviceFault.OUT_OF_MEMORY
        self._scorer.measurer.let_go_of_memory()

    def _finished(self, face: _Face, measured: tuple[Measurement, int]) -> Scored | Rejection:
        measurement, size = measured
        scored = self._scorer.scored(face.rgb, face.aligned, measurement, face.watch, face.warnings)
        return self._noted(scored, size)

    def _noted(self, result: Scored | Rejection, size: int = 1) -> Scored | Rejection:
        """Return the result with what it was computed on."""
        if isinstance(result, Rejection):
            return result
        computation = Computation(self.device, size, self._fault)
        return replace(result, score=replace(result.score, computation=computation))


def _read(path: Path) -> _Read:
    watch = Stopwatch()
    try:
        with watch.stage("decode"):
            return read_photograph(path), watch
    except UnscorablePhotographError as error:
        return error.rejection, watch


def batch_size(faces: int, most: int) -> int:
    """Return how large the next batch is: filled by `faces`, or by more than half of what it holds."""
    sizes = sorted({size for size in (*BATCH_SIZES, most) if size <= most})
    return next((size for size in sizes if size // 2 < faces <= size), max(s for s in sizes if s <= faces))


def build_batch_scorer(
    generator: str,
    profile: str,
    device: str = "auto",
    regressor: str = "",
    seed: int = 0,
    *,
    quality: QualityThresholds | None = None,
    most_at_once: int = 0,
    after: DeviceFault | None = None,
) -> BatchScorer:
    """Compose the scorer of a service; see `build_scorer` for what is not named here, and for what it raises.

    most_at_once: 0 for as many as the device gains from, which is one on a CPU. after: a fault for which the
    CPU is taken rather than `device`. Raises DeviceFaultError for a GPU that cannot be used.
    """
    chosen = "cpu" if after else device
    with device_faults():
        scorer = build_scorer(generator, profile, chosen, regressor, seed, quality=quality)
    on_gpu = scorer.generator.device.type == "cuda"
    # What a GPU can take at once is too much for a CPU in its place.
    most = 1 if after else most_at_once or (BATCH_SIZES[0] if on_gpu else 1)
    # On a CPU the cores are at the optimiser's work.
    cores = len(os.sched_getaffinity(0)) - 1 if on_gpu and most > 1 else 0
    smallest = (quality or QualityThresholds()).minimum_face_pixels
    locators = LocatorPool(min(cores, most, _MOST_LOCATORS), smallest) if cores > 0 else None
    return BatchScorer(scorer, most_at_once=most, locators=locators, fault=after)
