"""The anomaly map as a picture: heat inside the face, the regions' borders, a colour bar with its figures."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

HIGHEST = 0.12
"""What the top of the colour bar stands for, in units of the map (local LPIPS); more looks the same.

The scale is fixed, so that pictures can be compared.
"""

_GREY = np.uint8(127)
_BORDER = (70, 70, 70)
_TICKS = 4


def anomaly_picture(
    anomaly_map: NDArray[np.float32], labels: NDArray[np.uint8], mask: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Return the heat picture, uint8 RGB of the mask's side: grey off the mask, the colour bar at the right.

    anomaly_map: (S, S), >= 0 (`pipeline.anomaly_map`), of any side. labels: the regions, (H, H)
    (`pipeline.face_regions`). mask: (H, H) of 0 and 1.
    """
    side = mask.shape[0]
    values = cv2.resize(anomaly_map, (side, side), interpolation=cv2.INTER_LINEAR)
    inside = mask > 0
    picture = np.where(inside[:, :, None], _heat(np.asarray(values, dtype=np.float32)), _GREY)
    border = np.zeros(labels.shape, dtype=bool)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    picture[border & inside] = _BORDER
    return _with_bar(np.ascontiguousarray(picture, dtype=np.uint8))


def _heat(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W) -> (H, W, 3) RGB."""
    levels = np.clip(values / HIGHEST * 255, 0, 255).round().astype(np.uint8)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[:, :, ::-1], dtype=np.uint8)


def _with_bar(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw the bar along the right rim, where the frame of an aligned face shows none of it."""
    side = picture.shape[0]
    top, bottom, left, right = (round(share * side) for share in (0.3, 0.7, 0.9, 0.925))
    ramp = np.linspace(HIGHEST, 0, bottom - top, dtype=np.float32)[:, None]
    picture[top:bottom, left:right] = _heat(ramp)
    for tick in range(_TICKS + 1):
        share = tick / _TICKS
        row = round(bottom + share * (top - bottom))
        text = f"{share * HIGHEST:.2f}"
        place = (round(0.93 * side), row + round(0.008 * side))
        cv2.putText(
            picture,
            text,
            place,
            cv2.FONT_HERSHEY_SIMPLEX,
            0.0007 * side,
            (0, 0, 0),
            max(1, side // 500),
            cv2.LINE_AA,
        )
    return picture
