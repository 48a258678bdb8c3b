"""What the landmarks say: how far the face's shape is from its normalized version's, and from usual ones.

The metric and the anomaly network look at small places; a chin that is too short, or eyes that are set wide,
look normal in every one of them. Landmarks of both pictures are found in the same way, so that what the
landmark model does to every face falls out.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.face import FaceFinder
from pipeline.face_shape import Complex, load_face_shape, similarity

SHAPE_FEATURES = ("s_chin", "s_disagreement")
"""Names, in order.

s_chin: how far the chin's outline is from where the normalized face has it, once brows, eyes, nose and mouth
of both lie over each other, in shares of the frame's side. s_disagreement: the share of the weight that parts
of the photographed face lose for not going with the others (`pipeline.face_shape`), 0 to 1.
"""

_CHIN = slice(6, 11)
_FIRST_WITHIN = 17  # of the landmarks inside the face; those before are the jaw's outline
SHAPE_SIDE = 640
"""Side, in pixels, of the pictures in which landmarks are found."""


def shape_features(
    faces: FaceFinder,
    picture: NDArray[np.uint8],
    landmarks: NDArray[np.float64],
    normalized: NDArray[np.uint8],
) -> dict[str, float]:
    """Return the shape features of an aligned face, by name.

    picture, normalized: uint8 RGB (S, S, 3) and (T, T, 3), the photograph and its normalized version in the
    frame. landmarks: (68, 2), about where they are in `picture`. Raises ValueError where they coincide.
    """
    there, norm = found_alike(faces, picture, landmarks, normalized)
    apart = displacement(there, norm)[_CHIN].mean()
    _, _, agreement = load_face_shape().fitted(there)
    return {"s_chin": float(abs(apart)) / SHAPE_SIDE, "s_disagreement": 1 - agreement}


def found_alike(
    faces: FaceFinder,
    picture: NDArray[np.uint8],
    landmarks: NDArray[np.float64],
    normalized: NDArray[np.uint8],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the landmarks of both pictures, (68, 2) each in px of `SHAPE_SIDE`; arguments as above."""
    near = (landmarks + 0.5) * (SHAPE_SIDE / len(picture)) - 0.5
    return faces.steady_near(_reduced(picture), near), faces.steady_near(_reduced(normalized), near)


def displacement(landmarks: NDArray[np.float64], usual: NDArray[np.float64]) -> Complex:
    """Return how far each of 68 landmarks (68, 2) lies from its usual place, (68,), x + iy.

    The usual ones are laid over them by shift, turn and scale first, as well as brows, eyes, nose and mouth
    go. Raises ValueError where they coincide.
    """
    weights = np.zeros(len(landmarks))
    weights[_FIRST_WITHIN:] = 1
    seen, there = (points @ np.array([1, 1j]) for points in (landmarks, usual))
    turn, shift = similarity(there, seen, weights)
    return np.asarray(seen - (turn * there + shift))


def _reduced(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    way = cv2.INTER_AREA if len(picture) > SHAPE_SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (SHAPE_SIDE, SHAPE_SIDE), interpolation=way), np.uint8)
