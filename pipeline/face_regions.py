"""Which part of the face a pixel of the aligned frame belongs to, from the 68 landmarks.

Left and right are the PATIENT's own: `left_eye` lies right in a picture that faces the viewer, unless the
picture is mirrored, which no landmark can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.alignment import ALIGNED_SIDE
from pipeline.anatomy import Anatomy, Half, Points


class FaceRegion(StrEnum):
    """The regions, in the order of their labels. The value is stored and printed; never rename one.

    BROWS: both, with the skin just beside them. RIGHT_EYE, LEFT_EYE: lids and what surrounds them, from below
    the brow to the bag under the eye. NOSE: bridge, tip, wings. UPPER_LIP: red and white lip, up to the
    nostrils. LOWER_LIP: red lip and the fold under it. RIGHT_CHEEK, LEFT_CHEEK: from the eye to the jaw.
    CHIN_AND_JAW: chin and lower border of the face. FOREHEAD: what lies above the brows; there is no region
    of other skin, each pixel goes to the nearest one.
    """

    BROWS = "brows"
    RIGHT_EYE = "right_eye"
    LEFT_EYE = "left_eye"
    NOSE = "nose"
    UPPER_LIP = "upper_lip"
    LOWER_LIP = "lower_lip"
    RIGHT_CHEEK = "right_cheek"
    LEFT_CHEEK = "left_cheek"
    CHIN_AND_JAW = "chin_and_jaw"
    FOREHEAD = "forehead"


REGIONS = tuple(FaceRegion)
"""All regions; a label is an index into this."""


@dataclass(frozen=True, slots=True)
class _Core:
    """polygons, lines: convex or open, (N, 2) each, which the region holds. growth: in eye distances."""

    growth: float
    polygons: Sequence[Points] = ()
    lines: Sequence[Points] = ()


def region_labels(landmarks: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    """Return (side, side) of labels (`REGIONS`), one for every pixel of the aligned frame.

    Every region is grown beyond its landmarks, so that an anomaly just beside them belongs to it; a pixel
    goes to the region whose grown border it lies deepest inside, or is nearest to. landmarks: (68, 2) as
    (column, row) in the aligned frame of `ALIGNED_SIDE`. Raises ValueError for what `Anatomy.of` refuses.
    """
    scale = side / ALIGNED_SIDE
    anatomy = Anatomy.of((landmarks + 0.5) * scale - 0.5)  # pixel centres
    cores = _cores(anatomy)
    beyond = [_distance(cores[r], side) - np.float32(cores[r].growth * anatomy.unit) for r in REGIONS]
    labels: NDArray[np.uint8] = np.argmin(beyond, axis=0).astype(np.uint8)
    return labels


def _cores(anatomy: Anatomy) -> dict[FaceRegion, _Core]:
    p, unit = anatomy.points, anatomy.unit
    # The half that lies left in the picture is the patient's right one.
    right, left = anatomy.left, anatomy.right
    above_chin = 0.6 * anatomy.chin + 0.4 * p[57]
    return {
        FaceRegion.BROWS: _Core(0.09, lines=(right.brow, left.brow)),
        FaceRegion.RIGHT_EYE: _Core(0.2, (_hull(right.upper_lid, right.lower_lid),)),
        FaceRegion.LEFT_EYE: _Core(0.2, (_hull(left.upper_lid, left.lower_lid),)),
        FaceRegion.NOSE: _Core(0.12, (_hull(p[27:36]),)),
        FaceRegion.UPPER_LIP: _Core(0.09, (_hull(p[48:55], p[60:65]), _hull(p[32:35], p[50:53]))),
        FaceRegion.LOWER_LIP: _Core(0.09, (_hull(p[54:60], p[48:49], p[64:68], p[60:61]),)),
        FaceRegion.RIGHT_CHEEK: _Core(0.25, (_cheek(right),)),
        FaceRegion.LEFT_CHEEK: _Core(0.25, (_cheek(left),)),
        FaceRegion.CHIN_AND_JAW: _Core(0.15, (_hull(p[6:11], above_chin[None]),), (p[5:12],)),
        FaceRegion.FOREHEAD: _Core(0.1, lines=(_above(right.brow, left.brow, 0.25 * unit),)),
    }


def _cheek(half: Half) -> Points:
    return _hull(half.jaw[1:5], half.cheek[None])


def _above(brow: Points, other: Points, height: float) -> Points:
    return np.concatenate((brow, other[::-1])) - (0.0, height)


def _hull(*points: Points) -> Points:
    return cv2.convexHull(np.concatenate(points).astype(np.float32))[:, 0].astype(np.float64)


def _distance(core: _Core, side: int) -> NDArray[np.float32]:
    """Return the distance of each pixel from the core, (side, side) in pixels."""
    outside = np.full((side, side), 255, np.uint8)
    for line in core.lines:
        cv2.polylines(outside, [np.round(line).astype(np.int32)], False, 0)
    for polygon in core.polygons:
        cv2.fillConvexPoly(outside, np.round(polygon).astype(np.int32), 0)
    return cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float32)
