"""Smooth local displacement of a picture by bumps that are exactly zero outside their ellipse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Bump:
    """Moves what lies around `centre - shift` to `centre`; lengths in pixels, (x, y).

    The weight is (1 - r^2)^3 with r = 1 on the ellipse with half axes `radii`; its steepest slope is
    1.72 / radius, so a shift below 0.58 of the radius along it never folds the picture. magnify: 0.3 shows
    the middle 1 / (1 - 0.3) times larger, negative values shrink it.
    """

    centre: tuple[float, float]
    shift: tuple[float, float]
    radii: tuple[float, float]
    magnify: float = 0.0


def warped(face: NDArray[np.uint8], bumps: Sequence[Bump]) -> NDArray[np.uint8]:
    """Return `face` (rows, columns, 3) with all bumps applied at once; pixels outside them are untouched."""
    rows, columns = face.shape[:2]
    left = max(0, min(int(b.centre[0] - b.radii[0]) for b in bumps))
    right = min(columns, max(int(b.centre[0] + b.radii[0]) + 2 for b in bumps))
    top = max(0, min(int(b.centre[1] - b.radii[1]) for b in bumps))
    bottom = min(rows, max(int(b.centre[1] + b.radii[1]) + 2 for b in bumps))
    if left >= right or top >= bottom:
        return face.copy()
    x = np.arange(left, right, dtype=np.float32)[None, :]
    y = np.arange(top, bottom, dtype=np.float32)[:, None]
    shift_x = np.zeros((bottom - top, right - left), np.float32)
    shift_y = np.zeros_like(shift_x)
    for bump in bumps:
        from_x, from_y = x - bump.centre[0], y - bump.centre[1]
        inside = 1 - (from_x / bump.radii[0]) ** 2 - (from_y / bump.radii[1]) ** 2
        weight = np.maximum(inside, 0) ** 3
        shift_x += weight * (bump.shift[0] + bump.magnify * from_x)
        shift_y += weight * (bump.shift[1] + bump.magnify * from_y)
    moved = cv2.remap(face, x - shift_x, y - shift_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    result = face.copy()
    still = (shift_x == 0) & (shift_y == 0)
    result[top:bottom, left:right] = np.where(still[..., None], face[top:bottom, left:right], moved)
    return result


def moved_points(points: NDArray[np.float64], bumps: Sequence[Bump]) -> NDArray[np.float64]:
    """Return where `warped` with the same bumps brings points (N, 2), (x, y) in pixels, to a tenth of one.

    A pixel at q shows what was at q - shift(q); q is found by iteration, which converges where nothing folds.
    """
    there = points.astype(np.float64)
    for _ in range(60):
        shift = np.zeros_like(there)
        for bump in bumps:
            away = there - bump.centre
            weight = np.maximum(1 - ((away / bump.radii) ** 2).sum(1), 0) ** 3
            shift += weight[:, None] * (np.asarray(bump.shift) + bump.magnify * away)
        there = 0.5 * there + 0.5 * (points + shift)  # damped: a steep bump would make it swing
    return there
