"""Who a face is, as a vector of dlib's network: for experiments that ask whether a picture keeps the person.

No photograph is compared with another when it is scored; the weights are optional.
"""

from __future__ import annotations

from pathlib import Path

import dlib
import numpy as np
from numpy.typing import NDArray

from models.cache import cached_path
from models.catalog import FACE_EMBEDDING

SAME_PERSON = 0.6
"""Euclidean distance below which the network's author takes two faces for one person's."""


class FaceEmbedder:
    """dlib's face embedding network, loaded once."""

    def __init__(self, model: Path) -> None:
        """Take the network's file."""
        self._network = dlib.face_recognition_model_v1(str(model))

    def embed(self, rgb: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the face's vector, (128,), of a picture (rows, columns, 3) with its 68 landmarks.

        landmarks: (68, 2) as (column, row) in pixels of the picture. Vectors are compared by their Euclidean
        distance. Raises ValueError for landmarks of another shape.
        """
        if landmarks.shape != (68, 2) or not np.isfinite(landmarks).all():
            raise ValueError(f"expected 68 finite landmarks, got an array of shape {landmarks.shape}")
        points = [dlib.point(round(x), round(y)) for x, y in landmarks.tolist()]
        left, top = landmarks.min(0)
        right, bottom = landmarks.max(0)
        box = dlib.rectangle(round(left), round(top), round(right), round(bottom))
        face = dlib.full_object_detection(box, dlib.points(points))
        vector = self._network.compute_face_descriptor(np.ascontiguousarray(rgb), face)
        return np.asarray(vector, dtype=np.float64)


def load_face_embedder() -> FaceEmbedder:
    """Load the embedder with the fetched network. Raises WeightsMissingError."""
    return FaceEmbedder(cached_path(FACE_EMBEDDING, "dlib_face_recognition_resnet_model_v1.dat"))
