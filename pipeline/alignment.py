"""Brings a face into the generator's frame: centre, rotate and scale by the eyes and the mouth.

The crop is FFHQ's (Karras et al., CVPR 2019, appendix A): its centre and size follow from the vectors
between the eyes and from the eyes to the mouth, so that photographs and generated faces coincide. An eye or a
mouth that does not go with the rest of the face stands where the rest lets it be expected
(`pipeline.face_shape`), so that an anomaly does not tilt the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.face_shape import steady_anchors

ALIGNED_SIDE = 1024
"""Side of the aligned frame in pixels (the paper's 1024x1024x3)."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """The similarity between photograph and aligned frame.

    matrix: (2, 3) float64, maps photograph (column, row) to aligned (column, row).
    """

    matrix: NDArray[np.float64]

    @property
    def scale(self) -> float:
        """Aligned pixels per photograph pixel."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    def to_aligned(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (N, 2) photograph points to the aligned frame."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]

    def to_photograph(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (N, 2) aligned points back into the photograph."""
        return (points - self.matrix[:, 2]) @ np.linalg.inv(self.matrix[:, :2]).T


def find_alignment(landmarks: NDArray[np.float64]) -> Alignment:
    """Return the alignment for 68 landmarks, (68, 2) as (column, row) in the photograph.

    Raises ValueError where eyes and mouth coincide, so that no frame can be laid.
    """
    left, right, mouth = steady_anchors(landmarks)
    eyes = (left + right) / 2
    eye_to_eye = right - left
    eye_to_mouth = mouth - eyes
    x_axis = eye_to_eye - np.array([-eye_to_mouth[1], eye_to_mouth[0]])
    length = np.hypot(*x_axis)
    if not length > 0:
        raise ValueError("the landmarks of eyes and mouth coincide")
    half_side = max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8)
    direction = x_axis / length
    centre = eyes + eye_to_mouth * 0.1
    factor = ALIGNED_SIDE / (2 * half_side)
    rotation = factor * np.array([[direction[0], direction[1]], [-direction[1], direction[0]]])
    offset = np.full(2, (ALIGNED_SIDE - 1) / 2) - rotation @ centre
    return Alignment(np.column_stack([rotation, offset]))


def align(rgb: NDArray[np.uint8], alignment: Alignment, side: int = ALIGNED_SIDE) -> NDArray[np.uint8]:
    """Return the aligned face, uint8 (side, side, 3); what lies outside the photograph is reflected.

    A photograph that is larger than the frame is averaged down first, so that no detail aliases.
    """
    share = side / ALIGNED_SIDE
    smaller = np.array([[share, 0, (share - 1) / 2], [0, share, (share - 1) / 2]])
    matrix = smaller @ np.vstack([alignment.matrix, (0, 0, 1)])
    reduction = 1 / (alignment.scale * share)
    if reduction > 1.5:
        size = (max(1, round(rgb.shape[1] / reduction)), max(1, round(rgb.shape[0] / reduction)))
        sx, sy = rgb.shape[1] / size[0], rgb.shape[0] / size[1]
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        # Pixel centres: column c of the reduced picture is (c + 0.5) * sx - 0.5 of the original.
        enlarge = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
        matrix = matrix @ enlarge
    aligned = cv2.warpAffine(
        rgb, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(aligned, dtype=np.uint8)
