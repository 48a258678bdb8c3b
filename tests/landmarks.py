"""Landmarks without a picture, for geometry alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
