"""Which way a face looks, estimated from its landmarks.

A rigid mean face (`pipeline.face_shape`: the mean in the plane, the depth from how generated faces turn) is
laid over the landmarks by reweighted least squares under scaled orthographic projection. A part that does not
go with the others loses its weight, so that a nose or jaw that is off to one side is not taken for a turned
head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.face_shape import PARTS, landmark_weights, load_face_shape

# The jaw, in pieces: alone unsteady, but it has the longest lever.
_JAW = tuple(tuple(range(*ends)) for ends in ((0, 3), (3, 6), (6, 11), (11, 14), (14, 17)))
_SCALES = np.geomspace(0.08, 0.04, 10)  # residuals that quarter a part's weight, as shares of the frame


@dataclass(frozen=True, slots=True)
class Pose:
    """Degrees from frontal. Zero is the mean of generated faces.

    yaw: positive when the face turns to the right of the picture. pitch: positive when the chin goes down.
    roll: positive when the head leans clockwise in the picture, -180 to 180.
    """

    yaw: float
    pitch: float
    roll: float


def estimate_pose(landmarks: NDArray[np.float64]) -> Pose:
    """Return the pose of a face by its 68 landmarks, (68, 2), in a photograph of any size.

    Raises ValueError where the landmarks coincide.
    """
    model = load_face_shape()
    solid = np.stack((model.mean.real, model.mean.imag, model.depth), axis=1)
    design = np.column_stack((solid, np.ones(68)))
    prior = landmark_weights()
    prior[:17] = 1.0
    weights = prior
    rotation = np.eye(2, 3)
    for width in _SCALES:
        root = np.sqrt(weights)[:, None]
        affine = np.linalg.lstsq(design * root, landmarks * root, rcond=None)[0].T
        left, sizes, right = np.linalg.svd(affine[:, :3], full_matrices=False)
        scale, rotation = float(sizes.mean()), left @ right
        if not scale > 1e-6:
            raise ValueError("the landmarks coincide")
        laid = scale * solid @ rotation.T
        rest = landmarks - laid
        rest = rest - (weights @ rest) / weights.sum()
        residuals = (rest**2).sum(1) / scale**2
        weights = prior.copy()
        for part in (*PARTS, *_JAW):
            weights[list(part)] /= (1 + residuals[list(part)].mean() / width**2) ** 2
    towards = np.cross(rotation[0], rotation[1])
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    yaw = np.arctan2(-towards[0], np.hypot(rotation[0, 0], rotation[1, 0]))
    pitch = np.arctan2(-towards[1], towards[2])
    return Pose(*(float(np.degrees(angle)) for angle in (yaw, pitch, roll)))
