"""From a photograph's pixels to its face in the generator's frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment import Alignment, align, find_alignment
from pipeline.face import Face, FaceFinder, FaceSource
from pipeline.mask import face_mask
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import Rejection, RejectionReason
from pipeline.stopwatch import Stopwatch
from pipeline.supplied_landmarks import check_landmarks


@dataclass(frozen=True, slots=True)
class AlignedFace:
    """A face in the generator's frame.

    picture: uint8 (1024, 1024, 3). landmarks: (68, 2) in that frame. mask: float32 (1024, 1024). found: the
    face as it was found in the photograph; None where it came from elsewhere.
    """

    picture: NDArray[np.uint8]
    landmarks: NDArray[np.float64]
    mask: NDArray[np.float32]
    alignment: Alignment
    found: Face | None = None


def locate_face(
    faces: FaceFinder,
    rgb: NDArray[np.uint8],
    watch: Stopwatch,
    landmarks: NDArray[np.float64] | None = None,
) -> AlignedFace:
    """Find and align the face of a photograph, uint8 (rows, columns, 3); raises UnscorablePhotographError.

    landmarks: those that a person placed, (68, 2) in photograph pixels, instead of looking for the face.
    """
    with watch.stage("face"):
        found = faces.find(rgb) if landmarks is None else _placed(faces, rgb, landmarks)
    with watch.stage("align"):
        alignment = _alignment(found.landmarks, rgb)
        aligned_landmarks = alignment.to_aligned(found.landmarks)
        mask = face_mask(aligned_landmarks)
        return AlignedFace(align(rgb, alignment), aligned_landmarks, mask, alignment, found)


def _placed(faces: FaceFinder, rgb: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> Face:
    rows, columns = rgb.shape[:2]
    face = Face(check_landmarks(landmarks, rows, columns), 0.0, FaceSource.PERSON)
    return faces.checked(face, rows, columns)


def _alignment(landmarks: NDArray[np.float64], rgb: NDArray[np.uint8]) -> Alignment:
    try:
        return find_alignment(landmarks)
    except ValueError as error:
        rows, columns = rgb.shape[:2]
        detail = "Eyes and mouth could not be told apart. Take the photograph upright, facing the camera."
        raise UnscorablePhotographError(Rejection(RejectionReason.NO_FACE, detail, rows, columns)) from error
