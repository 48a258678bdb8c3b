"""Landmarks that a person gives for a photograph, where the software does not find them or finds them wrong.

A JSON file, {"landmarks": [[x, y], ...]}: 68 points in the order of dlib and 300-W, in pixels of the
photograph as it is seen upright (after its EXIF orientation), x to the right, y down, (0, 0) the middle of
the first pixel.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.face_shape import ANCHORS
from pipeline.pose import estimate_pose
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import Rejection, RejectionReason

LANDMARKS_SUFFIX = ".landmarks.json"
"""What is added to a photograph's name for the file beside it, for example `face.jpg.landmarks.json`."""

_MAXIMUM_BYTES = 1_000_000
_MARGIN = 0.1  # of the picture's longer side: the outline of a face may lie outside a tight picture


def landmarks_beside(photograph: Path) -> Path | None:
    """Return the file of landmarks beside a photograph, or None."""
    file = photograph.with_name(photograph.name + LANDMARKS_SUFFIX)
    return file if file.is_file() else None


def placed_landmarks(photograph: Path) -> NDArray[np.float64] | None:
    """Return the points of the file beside a photograph, (68, 2), None without one; see `read_landmarks`."""
    file = landmarks_beside(photograph)
    return None if file is None else read_landmarks(file)


def read_landmarks(file: Path) -> NDArray[np.float64]:
    """Return the file's points, (68, 2) float64.

    Raises UnscorablePhotographError(UNUSABLE_LANDMARKS) with what is wrong, OSError where the file cannot be
    read.
    """
    with file.open("rb") as stream:
        data = stream.read(_MAXIMUM_BYTES + 1)
    if len(data) > _MAXIMUM_BYTES:
        raise _unusable("The file of landmarks is larger than 1 MB.")
    try:
        kept = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _unusable("The file of landmarks is not JSON.") from error
    points = kept.get("landmarks") if isinstance(kept, dict) else None
    if not isinstance(points, list) or len(points) != 68:
        number = len(points) if isinstance(points, list) else "no"
        raise _unusable(f'The file of landmarks needs "landmarks": 68 points [x, y]; it has {number}.')
    for position, point in enumerate(points):
        if not (isinstance(point, list) and len(point) == 2 and all(map(_is_number, point))):
            raise _unusable(f"Landmark {position} (counted from 0) is not [x, y] with two finite numbers.")
    return np.array(points, dtype=np.float64)


def check_landmarks(points: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float64]:
    """Return points, (68, 2), that can be those of a face in a photograph of that size.

    Raises UnscorablePhotographError(UNUSABLE_LANDMARKS) with what is wrong.
    """
    margin = _MARGIN * max(rows, columns)
    far = (points < -margin) | (points > np.array([columns, rows]) - 1 + margin)
    if far.any():
        position = int(np.nonzero(far.any(1))[0][0])
        detail = (
            f"Landmark {position} (counted from 0) lies outside the photograph of {columns} x {rows} pixels."
        )
        raise _unusable(detail, rows, columns)
    left, right, mouth = (points[list(part)].mean(0) for part in ANCHORS)
    across, down = right - left, mouth - (left + right) / 2
    turn = float(across[0] * down[1] - across[1] * down[0])
    if not turn > 0.2 * float(across @ across) or float(across @ across) < 0.01 * float(down @ down):
        detail = (
            "The landmarks are not those of a face: points 36 to 41 must be the eye that is on the left when "
            "the face is upright, 42 to 47 the other, 48 and 54 the corners of the mouth below them."
        )
        raise _unusable(detail, rows, columns)
    try:
        estimate_pose(points)
    except ValueError as error:  # places left at (0, 0), for one
        detail = "The landmarks are not those of a face: too many of them lie in one place."
        raise _unusable(detail, rows, columns) from error
    return points


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e6  # false for NaN, too


def _unusable(detail: str, rows: int | None = None, columns: int | None = None) -> UnscorablePhotographError:
    return UnscorablePhotographError(Rejection(RejectionReason.UNUSABLE_LANDMARKS, detail, rows, columns))
