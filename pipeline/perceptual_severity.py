"""How severe a drawn anomaly is, on one scale for all kinds: equal severity is equal perceptual change.

A kind's amplitude says how it was drawn, not how much of it is seen: at full amplitude a stain changes a face
five times as much as a bent nose. So the severity s of a drawn anomaly is defined by what is seen, the masked
LPIPS d between the face with and without it: s = sqrt(d / `FULL_DISTANCE`), at most 1. The root makes a small
displacement's severity grow in proportion to it. A rating of the paper's scale is 7 - 6 s.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

FULL_DISTANCE = 0.0169
"""The distance of severity 1 (LPIPS, AlexNet, 256 px, averaged over the mask): 0.13 squared.

Most kinds reach it at about their full amplitude on most generated faces (`bench.severity_scale`).
"""

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The severities at which validation draws every kind."""

_HALVINGS = 7


def perceptual_severity(distance: float) -> float:
    """Return the severity, 0 to 1, of a change that makes this masked LPIPS."""
    return float(min(1.0, np.sqrt(max(0.0, distance) / FULL_DISTANCE)))


def rating_of(severity: float) -> float:
    """Return the rating, 7 (none) to 1 (full severity), that stands for people's judgement."""
    return 7.0 - 6.0 * severity


def amplitude_for(severity: float, distance_at: Callable[[float], float]) -> float:
    """Return the amplitude, 0 to 1, at which a drawing has this severity, by bisection.

    distance_at: amplitude -> masked LPIPS of the face so drawn; it grows with the amplitude. Where even the
    full amplitude is milder, that is returned.
    """
    if severity <= 0:
        return 0.0
    wanted = severity**2 * FULL_DISTANCE
    if distance_at(1.0) <= wanted:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if distance_at(middle) < wanted else (low, middle)
    return (low + high) / 2
