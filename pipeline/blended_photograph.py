"""The normalized face put back where it came from: at the photograph's own scale and orientation."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.alignment import Alignment

FEATHER_SHARE = 0.045
"""Width of the mask's soft border, as a share of the aligned frame's side."""


def blended_photograph(
    rgb: NDArray[np.uint8],
    normalized: NDArray[np.uint8],
    mask: NDArray[np.float32],
    alignment: Alignment,
) -> NDArray[np.uint8]:
    """Return the photograph, uint8 (rows, columns, 3), with the normalized face inside the mask.

    normalized: uint8 (S, S, 3) of any side. mask: (A, A) of 0 and 1, in the frame that `alignment` maps to.
    Off the mask every pixel is the photograph's own; from its border inwards one goes over into the other.
    """
    side = mask.shape[0]
    weight = _feathered(mask)
    face = _resized(normalized, side)
    matrix = alignment.matrix
    if alignment.scale > 1.5:  # the photograph is coarser than the frame: averaged down, nothing aliases
        smaller = max(2, round(side / alignment.scale))
        face, weight = _resized(face, smaller), _resized(weight, smaller)
        share = smaller / side
        shrink = np.array([[share, 0, (share - 1) / 2], [0, share, (share - 1) / 2], [0, 0, 1]])
        matrix = (shrink @ np.vstack([matrix, [0, 0, 1]]))[:2]
    left, top, right, bottom = _box(alignment, side, rgb.shape[0], rgb.shape[1])
    result = rgb.copy()
    if right <= left or bottom <= top:
        return result
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ np.array([left, top], dtype=np.float64)
    size = (right - left, bottom - top)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(face, moved, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(weight, moved, size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    alpha = np.asarray(alpha, dtype=np.float32)[:, :, None]
    own = rgb[top:bottom, left:right]
    mixed = own + alpha * (warped.astype(np.float32) - own)
    result[top:bottom, left:right] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return result


def _feathered(mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (A, A): 0 off the mask, rising to 1 within the feather's width inside it."""
    inside = np.pad((mask > 0).astype(np.uint8), 1)  # the frame's rim counts as the mask's border
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
    share = np.clip(depth / (FEATHER_SHARE * mask.shape[0]), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), dtype=np.float32)


def _resized(picture: NDArray[Any], side: int) -> NDArray[Any]:
    """Return the square picture with another side, of the same type."""
    if picture.shape[0] == side:
        return picture
    how = cv2.INTER_AREA if side < picture.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side, side), interpolation=how))


def _box(alignment: Alignment, side: int, rows: int, columns: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the aligned frame's place in the photograph, clipped to it."""
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], dtype=np.float64)
    placed = alignment.to_photograph(corners)
    left, top = np.floor(placed.min(0)).astype(int) - 1
    right, bottom = np.ceil(placed.max(0)).astype(int) + 2
    return max(0, int(left)), max(0, int(top)), min(columns, int(right)), min(rows, int(bottom))
