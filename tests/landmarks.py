"""Landmarks without a picture, for geometry alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment import ALIGNED_SIDE
from pipeline.face_shape import load_face_shape


def scattered_landmarks(seed: int) -> NDArray[np.float64]:
    """(68, 2) in a photograph: jaw, eyes and mouth where a face has them, the rest anywhere inside."""
    random = np.random.default_rng(seed)
    points = random.uniform((150, 220), (350, 400), (68, 2))
    angle = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack((250 + 160 * np.cos(angle), 250 + 200 * np.sin(angle)), 1)
    for eye, centre in ((slice(36, 42), (190, 230)), (slice(42, 48), (310, 230))):
        points[eye] = centre + random.uniform(-15, 15, (6, 2))
    points[[48, 54]] = (200, 370), (300, 370)
    return points + random.uniform(-5, 5, (68, 2))


def usual_landmarks() -> NDArray[np.float64]:
    """(68, 2) in the aligned frame: the mean of the shape model, the same left and right."""
    mean = load_face_shape().mean
    return np.stack((mean.real, mean.imag), 1) * ALIGNED_SIDE + (ALIGNED_SIDE - 1) / 2
