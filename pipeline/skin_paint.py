"""Masks on skin, and what may be done to the skin under them: tint, shade, relief.

Masks are float32 (rows, columns) from 0 to 1; pixels where a mask is 0 stay exactly as they are.
"""

from __future__ import annotations

from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.anatomy import Anatomy, Points

Mask = NDArray[np.float32]
Picture = NDArray[np.uint8]


class Tint(TypedDict):
    """lightness: factor of L. a, b: added to CIELAB a* and b*."""

    lightness: float
    a: float
    b: float


def noise(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> Mask:
    """Return smooth noise in about -1 to 1, `cells` bumps along each side, with a finer octave on top."""
    total = np.zeros(shape, np.float32)
    for octave, gain in ((1, 0.7), (3, 0.3)):
        grid = rng.uniform(-1, 1, (cells * octave, cells * octave)).astype(np.float32)
        total += gain * _resized(grid, shape, cv2.INTER_CUBIC)
    return total


def smoothstep(value: Mask) -> Mask:
    """Return 0 below 0, 1 above 1 and a smooth rise between."""
    t = _clipped(value)
    return t * t * (3 - 2 * t)


def distance_field(
    shape: tuple[int, int],
    centre: Points,
    radii: tuple[float, float],
    angle: float,
    ragged: float,
    rng: np.random.Generator,
) -> Mask:
    """Return 0 at `centre` growing to 1 on an ellipse (radii in pixels, angle in radians) with a ragged rim.

    Beyond 1.6 radii the field is large, so that a mask made of it ends there.
    """
    field = np.full(shape, 9.0, np.float32)
    reach = 1.6 * max(radii)
    left, top = (int(max(0, c - reach)) for c in centre)
    right, bottom = int(min(shape[1], centre[0] + reach)), int(min(shape[0], centre[1] + reach))
    rough = noise((256, 256), 6, rng)
    if left >= right or top >= bottom:
        return field
    x = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(centre[0])
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(centre[1])
    along = (x * np.cos(angle) + y * np.sin(angle)) / radii[0]
    across = (y * np.cos(angle) - x * np.sin(angle)) / radii[1]
    radius = np.sqrt(along**2 + across**2)
    rough = _resized(rough, (bottom - top, right - left), cv2.INTER_LINEAR)
    field[top:bottom, left:right] = np.where(radius < 1.6, radius + ragged * rough, 9.0)
    return field


def skin_mask(shape: tuple[int, int], anatomy: Anatomy) -> Mask:
    """Return 1 on the skin from the chin to a third of a unit above the brows, 0 on eyes and open mouth."""
    small = 0.25
    points = anatomy.points
    forehead = points[17:27] - (0, 0.33 * anatomy.unit)
    outline = np.concatenate((points[:17], forehead))
    mask = np.zeros((round(shape[0] * small), round(shape[1] * small)), np.float32)
    _fill(mask, _hull(outline * small), 1)
    eroded: Mask = cv2.erode(mask, np.ones((5, 5), np.uint8)).astype(np.float32)
    for hole in (points[36:42], points[42:48], points[60:68]):
        middle = hole.mean(axis=0)
        _fill(eroded, (middle + 1.15 * (hole - middle)) * small, 0)
    soft = cv2.GaussianBlur(eroded, (0, 0), 2.0).astype(np.float32)
    return _clipped((_resized(soft * mask, shape, cv2.INTER_LINEAR) - 0.02) / 0.98)


def tinted(
    face: Picture, mask: Mask, *, lightness: float, a: float, b: float, texture: Mask | None = None
) -> Picture:
    """Return `face` with L multiplied by `lightness` and CIELAB a*, b* moved, each weighted by `mask`.

    Multiplying L keeps pores and shadows. texture: (rows, columns) about -1 to 1, modulates the effect.
    """
    box = _box(mask)
    if box is None:
        return face.copy()
    weight: Mask = mask[box]
    effect: Mask = weight
    if texture is not None:
        effect = (weight * np.clip(1 + 0.35 * texture[box], 0, 1.4)).astype(np.float32)
    lab = _lab(face[box])
    chroma = effect * np.clip(lab[..., 0] / 60, 0.35, 1.1)  # dark skin takes less colour
    lab[..., 1] += (a * chroma).astype(np.float32)
    lab[..., 2] += (b * chroma).astype(np.float32)
    lab[..., 0] *= 1 + (lightness - 1) * effect
    return _replaced(face, box, lab, weight)


def relief(
    face: Picture, height: Mask, light: tuple[float, float], gain: float, gloss: float = 0.0
) -> Picture:
    """Return `face` shaded as if `height` (pixels, 0 outside) stood out of it.

    light: direction towards the light as (x, y). gain: change of L per unit of slope. gloss: added L at
    the spot that faces the light.
    """
    box = _box(height)
    if box is None:
        return face.copy()
    patch: Mask = height[box]
    slope_y, slope_x = np.gradient(patch)
    facing = -(slope_x * light[0] + slope_y * light[1]).astype(np.float32)
    lab = _lab(face[box])
    lab[..., 0] *= (1 + np.clip(gain * facing, -0.45, 0.3)).astype(np.float32)
    if gloss:
        spot: Mask = np.asarray((facing - 0.25) / 0.5, np.float32)
        upper: Mask = (patch / (patch.max() + 1e-6) - 0.4).astype(np.float32)
        lab[..., 0] += gloss * smoothstep(spot) * smoothstep(upper)
    return _replaced(face, box, lab, patch)


def line_mask(shape: tuple[int, int], points: Points, width: float) -> Mask:
    """Return a soft line through `points` (n, 2), about `width` pixels wide, fading at both ends."""
    mask = np.zeros(shape, np.float32)
    count = len(points) - 1
    for index in range(count):
        strength = min(1.0, 4 * (index + 1) / count, 4 * (count - index) / count)
        start, end = (tuple(int(v) for v in np.rint(p * 16)) for p in points[index : index + 2])
        segment_width = max(1, round(width * (0.6 + 0.4 * strength)))
        cv2.line(mask, start, end, strength, segment_width, cv2.LINE_AA, shift=4)
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.8, width * 0.3)).astype(np.float32)
    return _clipped((soft - 0.01) / 0.9)


def _resized(values: Mask, shape: tuple[int, int], interpolation: int) -> Mask:
    return cv2.resize(values, (shape[1], shape[0]), interpolation=interpolation).astype(np.float32)


def _clipped(values: Mask) -> Mask:
    result: Mask = np.clip(values, 0, 1).astype(np.float32)
    return result


def _lab(rgb: Picture) -> Mask:
    return cv2.cvtColor(rgb.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB).astype(np.float32)


def _hull(points: Points) -> Points:
    return cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)


def _fill(mask: Mask, polygon: Points, value: float) -> None:
    cv2.fillPoly(mask, [np.rint(polygon).astype(np.int32)], value)


def _box(mask: Mask) -> tuple[slice, slice] | None:
    x, y, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    return (slice(y, y + height), slice(x, x + width)) if width and height else None


def _replaced(face: Picture, box: tuple[slice, slice], lab: NDArray[np.float32], mask: Mask) -> Picture:
    lab[..., 0] = np.clip(lab[..., 0], 0, 100)
    rgb = np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255 + 0.5, 0, 255).astype(np.uint8)
    result = face.copy()
    result[box] = np.where((mask > 0)[..., None], rgb, face[box])
    return result
