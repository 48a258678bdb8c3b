"""Where a face's eyes and mouth belong, judged by all of its parts: what lets one displaced part not count.

A shape model of the landmarks (mean and a few modes, fitted by `bench/fit_face_shape.py` to generated faces
and their mirror images) is laid over a face by reweighted least squares. A part that does not go with the
others, for instance a mouth that hangs, loses its weight; the model says where it would be otherwise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Complex = NDArray[np.complex128]

ANCHORS = (tuple(range(36, 42)), tuple(range(42, 48)), (48, 54))
"""Landmarks whose means are the anchors of the frame: the eye left in the picture, the other, the mouth."""

# The outline of the jaw takes no part: hair and shadows move it more than any anomaly.
PARTS = (
    tuple(range(17, 22)),
    tuple(range(22, 27)),
    tuple(range(27, 31)),
    tuple(range(31, 36)),
    *ANCHORS[:2],
    tuple(range(48, 68)),
)
MIRRORED = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *range(54, 47, -1),
    *range(59, 54, -1),
    *range(64, 59, -1),
    *range(67, 64, -1),
)
"""For every landmark, the one that takes its place in the mirror image."""

_MOUTH_WEIGHT = 0.3  # it has 20 of the points and moves most: with speech, with a smile
_SCALES = np.geomspace(0.04, 0.01, 12)  # residuals that halve a part's weight twice, coarse to fine
_NOISE = 0.012  # of a landmark, as a share of the frame
_TRUSTED = 0.008  # how far off an anchor may lie, as a share of the frame, before it counts less
_DISTRUSTED = 0.016  # and from where on it counts no more
_LEAST_AGREEMENT = (
    0.4  # share of the weights that must be left, or these landmarks are no face of the model's
)


@dataclass(frozen=True, slots=True)
class FaceShape:
    """mean: (68,) complex, x + iy in shares of the aligned frame. modes: (K, 68) complex, unit length.

    deviations: (K,), of the modes' coefficients over faces. depth: (68,), towards the camera from the outer
    corners of the eyes, in shares of the frame.
    """

    mean: Complex
    modes: Complex
    deviations: NDArray[np.float64]
    depth: NDArray[np.float64]

    def fitted(self, landmarks: Points) -> tuple[Points, float, float]:
        """Return the model laid over landmarks, (68, 2), its scale, and the share of weight that is left.

        scale: pixels of the photograph for one side of the aligned frame. Raises ValueError where the
        landmarks coincide.
        """
        points = landmarks @ np.array([1, 1j])
        prior = landmark_weights()
        weights, shape = prior, self.mean
        for scale in _SCALES:
            turn, shift = similarity(shape, points, weights)
            there = (points - shift) / turn
            weights = prior.copy()
            for part in PARTS:
                residual = np.mean(np.abs(there - shape)[list(part)] ** 2)
                weights[list(part)] /= (1 + residual / scale**2) ** 2
            shape = self._nearest(there, weights)
        turn, shift = similarity(shape, points, weights)
        laid = turn * shape + shift
        return np.column_stack([laid.real, laid.imag]), float(abs(turn)), float(weights.sum() / prior.sum())

    def _nearest(self, points: Complex, weights: NDArray[np.float64]) -> Complex:
        """Return the model's likeliest shape for points in its own frame."""
        weighted = np.conj(self.modes) * weights
        system = (weighted @ self.modes.T).real + np.diag((_NOISE / self.deviations) ** 2)
        coefficients = np.linalg.solve(system, (weighted @ (points - self.mean)).real)
        return np.asarray(self.mean + coefficients @ self.modes)


def landmark_weights() -> NDArray[np.float64]:
    """Return how much each of the 68 landmarks counts before any residual is known, (68,), 0 to 1."""
    weights = np.zeros(68)
    for part in PARTS:
        weights[list(part)] = _MOUTH_WEIGHT if part[0] == 48 else 1.0
    return weights


def steady_anchors(landmarks: Points) -> tuple[Points, Points, Points]:
    """Return the anchors of 68 landmarks: the eye left in the picture, the other, the mouth, (2,) each.

    The anchor of a part that lies where the rest of the face lets it be expected is its landmarks' mean;
    the farther it is off, the less that mean counts, down to the expectation alone. Raises ValueError where
    the landmarks coincide.
    """
    expected, scale, agreement = load_face_shape().fitted(landmarks)
    anchors = []
    for part in ANCHORS:
        found, usual = landmarks[list(part)].mean(0), expected[list(part)].mean(0)
        off = float(np.hypot(*(found - usual))) / scale
        trust = np.clip((_DISTRUSTED - off) / (_DISTRUSTED - _TRUSTED), 0, 1)
        anchors.append(usual + trust * (found - usual) if agreement > _LEAST_AGREEMENT else found)
    return anchors[0], anchors[1], anchors[2]


@cache
def load_face_shape() -> FaceShape:
    """Return the shape model that ships."""
    kept = json.loads((files("pipeline") / "data" / "face_shape.json").read_text(encoding="utf-8"))
    mean, modes = np.array(kept["mean"]), np.array(kept["modes"])
    return FaceShape(
        mean @ np.array([1, 1j]),
        modes @ np.array([1, 1j]),
        np.array(kept["deviations"]),
        np.array(kept["depth"]),
    )


def similarity(shape: Complex, points: Complex, weights: NDArray[np.float64]) -> tuple[complex, complex]:
    """Return turn (with scale) and shift that bring the shape nearest to the points, weighted (P,).

    Raises ValueError where the shape's points coincide.
    """
    total = weights.sum()
    middle, there = (weights @ shape) / total, (weights @ points) / total
    turn = (weights * np.conj(shape - middle)) @ (points - there) / (weights @ np.abs(shape - middle) ** 2)
    if not abs(turn) > 0:
        raise ValueError("the landmarks coincide")
    return complex(turn), complex(there - turn * middle)
