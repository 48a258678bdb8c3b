"""The part of the aligned frame that is compared: the face, without hair, ears and background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.alignment import ALIGNED_SIDE, Alignment

BORDER = 50
"""By how many pixels of the 1024 frame the hull of the landmarks is grown (the paper's 50 px)."""


def face_outline(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mask's border in the aligned frame, (N, 2) as (column, row), not closed.

    landmarks: (68, 2) in the aligned frame. The outline is the convex hull, grown by `BORDER`.
    """
    contours, _ = cv2.findContours(_filled(landmarks), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(max(contours, key=cv2.contourArea))[:, 0]
    simpler = cv2.approxPolyDP(hull[:, None], 2.0, True)[:, 0]
    return np.asarray(simpler, dtype=np.float64)


def face_mask(landmarks: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the mask, float32 (1024, 1024) of 0 and 1, for landmarks (68, 2) in the aligned frame."""
    return (_filled(landmarks) > 0).astype(np.float32)


def outline_in_photograph(
    landmarks: NDArray[np.float64], alignment: Alignment, rows: int, columns: int
) -> tuple[tuple[float, float], ...]:
    """Return the closed outline (column, row) in the photograph, clipped to its frame."""
    points = alignment.to_photograph(face_outline(landmarks))
    points = np.clip(points, 0, [columns - 1, rows - 1])
    closed = [*points, points[0]]
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in closed)


def _filled(landmarks: NDArray[np.float64]) -> NDArray[np.uint8]:
    outside = np.full((ALIGNED_SIDE, ALIGNED_SIDE), 255, np.uint8)
    hull = cv2.convexHull(np.round(landmarks).astype(np.int32))
    cv2.fillConvexPoly(outside, hull, 0)
    # The same as a dilation by a disc, which takes many times as long.
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance <= BORDER, dtype=np.uint8)
