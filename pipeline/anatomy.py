"""The 68 landmarks by name, in lengths of the face itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Half:
    """One half of the face; points are (x, y) in pixels.

    outward: -1 for the half that lies left in the picture, +1 for the other. jaw and brow run from the
    outer end inwards. upper_lid and lower_lid run from the outer to the inner corner, corners included.
    """

    outward: int
    jaw: Points
    brow: Points
    upper_lid: Points
    lower_lid: Points
    ala: Points
    nostril: Points
    lip_peak: Points
    lip_inner: Points
    lower_lip: Points
    mouth_corner: Points

    @property
    def eye(self) -> Points:
        """The middle of the eye, (2,)."""
        both = np.concatenate((self.upper_lid, self.lower_lid))
        middle: Points = both.mean(axis=0)
        return middle

    @property
    def cheek(self) -> Points:
        """The middle of the cheek, (2,): below the eye, outside the mouth."""
        middle: Points = 0.34 * self.eye + 0.33 * self.mouth_corner + 0.33 * self.jaw[3]
        return middle


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A face by its landmarks. unit: distance of the eyes' middles in pixels, the length of all others."""

    points: Points
    unit: float
    left: Half
    right: Half

    @classmethod
    def of(cls, landmarks: Points) -> Self:
        """Name the points of `landmarks`, (68, 2) as (x, y). Raises ValueError for any other shape."""
        if landmarks.shape != (68, 2) or not np.isfinite(landmarks).all():
            raise ValueError(f"expected 68 finite landmarks, got an array of shape {landmarks.shape}")
        p = landmarks.astype(np.float64)
        left = Half(
            outward=-1,
            jaw=p[0:8],
            brow=p[17:22],
            upper_lid=p[[36, 37, 38, 39]],
            lower_lid=p[[36, 41, 40, 39]],
            ala=p[31],
            nostril=p[32],
            lip_peak=p[50],
            lip_inner=p[61],
            lower_lip=p[58],
            mouth_corner=p[48],
        )
        right = Half(
            outward=1,
            jaw=p[16:8:-1],
            brow=p[26:21:-1],
            upper_lid=p[[45, 44, 43, 42]],
            lower_lid=p[[45, 46, 47, 42]],
            ala=p[35],
            nostril=p[34],
            lip_peak=p[52],
            lip_inner=p[63],
            lower_lip=p[56],
            mouth_corner=p[54],
        )
        unit = float(np.linalg.norm(right.eye - left.eye))
        if unit < 1:
            raise ValueError("the eyes of these landmarks coincide")
        return cls(p, unit, left, right)

    @property
    def chin(self) -> Points:
        """The lowest point of the jaw, (2,)."""
        lowest: Points = self.points[8]
        return lowest

    def half(self, outward: int) -> Half:
        """Return the left half for -1, the right one for +1."""
        return self.left if outward < 0 else self.right
