"""Processes that find and align the faces of several photographs at once.

dlib holds Python's lock while it looks, so threads do not help. On a GPU the optimisation of a batch takes
hardly more time a face than finding it does on one core.
"""

from __future__ import annotations

import logging
import multiprocessing
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.face import FaceFinder, load_face_finder
from pipeline.locating import AlignedFace, locate_face
from pipeline.parent_process import end_with_parent
from pipeline.photograph import read_photograph
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import Rejection
from pipeline.stopwatch import Stopwatch

Located = tuple[AlignedFace | Rejection, dict[str, float]]
"""The face, or why there is none, and the seconds of each stage."""


class LocatorPool:
    """A pool of such processes, each with a face finder of its own; close it, or use it in a `with`."""

    def __init__(self, processes: int, minimum_face_pixels: int) -> None:
        """Start so many processes when they are first needed.

        minimum_face_pixels: the width from which on a face is looked for.
        """
        self._pool = ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_prepare,
            initargs=(minimum_face_pixels,),
        )

    def locate(self, photographs: Sequence[NDArray[np.uint8]]) -> list[Located]:
        """Find and align the face of each photograph, uint8 (rows, columns, 3), in their order."""
        return list(self._pool.map(_located, photographs))

    def locate_in_files(self, paths: Sequence[Path]) -> list[Located]:
        """Find and align the face in each JPEG, PNG or DICOM file, in their order.

        Pictures of 24 megapixels would take longer from one process to another than to be decoded in each.
        """
        return list(self._pool.map(_located_in_file, paths))

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_finders: list[FaceFinder] = []


def _prepare(minimum_face_pixels: int) -> None:
    end_with_parent()
    # What libraries log and warn of may quote a dataset; the scoring process says what a photograph came to.
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)
    _finders.append(load_face_finder(minimum_face_pixels))


def _located_in_file(path: Path) -> Located:
    try:
        return _located(read_photograph(path))
    except UnscorablePhotographError as error:
        return error.rejection, {}


def _located(rgb: NDArray[np.uint8]) -> Located:
    watch = Stopwatch()
    try:
        return locate_face(_finders[0], rgb, watch), watch.seconds
    except UnscorablePhotographError as error:
        return error.rejection, watch.seconds
