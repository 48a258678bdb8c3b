"""What differs between people and is no anomaly, but is drawn poorly: stubble, freckles, make-up.

A face generator answers such skin with another skin, and whatever learns on generated faces alone takes the
difference for an anomaly. Drawn on generated faces in training only, both sides of the face alike.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.anatomy import Anatomy, Points
from pipeline.skin_paint import (
    Mask,
    Picture,
    Tint,
    distance_field,
    line_mask,
    noise,
    skin_mask,
    smoothstep,
    tinted,
)


def vary_person(
    face: NDArray[np.uint8], landmarks: NDArray[np.float64], strength: float, seed: int
) -> NDArray[np.uint8]:
    """Return `face`, (rows, columns, 3) RGB, with one to three traits of a person that are not anomalous.

    landmarks: (68, 2) as (x, y) in pixels of `face`. strength: 0 (unchanged) to 1 (as plain as they come).
    """
    if strength == 0:
        return face.copy()
    anatomy, rng = Anatomy.of(landmarks), np.random.default_rng(seed)
    for trait in rng.choice(len(_TRAITS), int(rng.integers(1, 4)), replace=False):
        face = _TRAITS[trait](face, anatomy, strength, rng)
    return face


def _stubble(face: Picture, anatomy: Anatomy, strength: float, rng: np.random.Generator) -> Picture:
    """Darken moustache, chin and lower cheeks, grainily."""
    shape, unit, p = face.shape[:2], anatomy.unit, anatomy.points
    beard = _soft_hull(shape, np.concatenate((p[2:15], p[31:36] + np.array((0, 0.08 * unit)))), anatomy, rng)
    lips = _soft_hull(shape, p[48:60], anatomy, rng)
    grain = (0.75 + 0.5 * noise(shape, int(rng.integers(90, 160)), rng)).astype(np.float32)
    mask = (beard * (1 - lips) * grain * np.float32(strength * rng.uniform(0.3, 1))).clip(0, 1)
    return tinted(face, mask.astype(np.float32), lightness=rng.uniform(0.6, 0.9), a=-2, b=rng.uniform(-8, 0))


def _freckles(face: Picture, anatomy: Anatomy, strength: float, rng: np.random.Generator) -> Picture:
    """Scatter small brown spots over nose and cheeks."""
    shape, unit = face.shape[:2], anatomy.unit
    mask = np.zeros(shape, np.float32)
    middle = anatomy.points[29]
    for _ in range(int(rng.integers(10, 60))):
        spot = middle + rng.normal(0, 1, 2) * (0.75 * unit, 0.35 * unit)
        radius = rng.uniform(0.008, 0.022) * unit + 0.6
        field = distance_field(shape, spot, (radius, radius), 0, 0, rng)
        mask = np.maximum(mask, smoothstep((1 - field) / 0.6))
    mask = mask * skin_mask(shape, anatomy) * np.float32(strength)
    return tinted(face, mask, lightness=rng.uniform(0.7, 0.92), a=rng.uniform(2, 8), b=rng.uniform(2, 9))


def _make_up(face: Picture, anatomy: Anatomy, strength: float, rng: np.random.Generator) -> Picture:
    """Colour lips and upper lids."""
    shape, unit, p = face.shape[:2], anatomy.unit, anatomy.points
    lips = _soft_hull(shape, p[48:60], anatomy, rng) * np.float32(strength * rng.uniform(0.2, 0.9))
    face = tinted(face, lips, lightness=rng.uniform(0.75, 1.0), a=rng.uniform(0, 22), b=rng.uniform(-6, 6))
    colour: Tint = {"lightness": rng.uniform(0.6, 0.95), "a": rng.uniform(-3, 6), "b": rng.uniform(-8, 3)}
    for half in (anatomy.left, anatomy.right):
        lid = line_mask(shape, half.upper_lid - (0, 0.04 * unit), 0.1 * unit)
        face = tinted(face, lid * np.float32(strength * 0.7), **colour)
    return face


def _rough_skin(face: Picture, anatomy: Anatomy, strength: float, rng: np.random.Generator) -> Picture:
    """Roughen or redden the skin all over, more in the middle."""
    shape = face.shape[:2]
    coarse, fine = noise(shape, int(rng.integers(6, 14)), rng), noise(shape, int(rng.integers(60, 140)), rng)
    mask = (skin_mask(shape, anatomy) * (0.5 + 0.3 * coarse + 0.4 * fine)).clip(0, 1).astype(np.float32)
    mask = mask * np.float32(strength)
    return tinted(face, mask, lightness=rng.uniform(0.85, 1.08), a=rng.uniform(-2, 9), b=rng.uniform(-4, 5))


def _brows(face: Picture, anatomy: Anatomy, strength: float, rng: np.random.Generator) -> Picture:
    """Make both brows darker or paler."""
    lightness, width = rng.uniform(0.55, 1.3), rng.uniform(0.06, 0.13) * anatomy.unit
    for half in (anatomy.left, anatomy.right):
        mask = line_mask(face.shape[:2], half.brow, width) * np.float32(0.8 * strength)
        face = tinted(face, mask, lightness=lightness, a=0, b=0)
    return face


def _shadow(face: Picture, anatomy: Anatomy, strength: float, rng: np.random.Generator) -> Picture:
    """Shade the sides of the face softly, as light from the front does, or one side from an angle."""
    shape, unit = face.shape[:2], anatomy.unit
    centre: Points = anatomy.points[30] + rng.normal(0, 0.25, 2) * unit
    columns, rows = np.meshgrid(np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32))
    distance = np.hypot((columns - centre[0]) / (1.6 * unit), (rows - centre[1]) / (2.0 * unit))
    mask: Mask = smoothstep(distance.astype(np.float32) - 0.2) * np.float32(strength)
    return tinted(face, mask, lightness=rng.uniform(0.65, 0.95), a=0, b=rng.uniform(-3, 3))


_TRAITS = (_stubble, _freckles, _make_up, _rough_skin, _brows, _shadow)


def _soft_hull(shape: tuple[int, int], points: Points, anatomy: Anatomy, rng: np.random.Generator) -> Mask:
    """Return 1 inside the hull of the points, with a soft border of random width."""
    mask = np.zeros(shape, np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 1.0)
    return cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.02, 0.06) * anatomy.unit).astype(np.float32)
