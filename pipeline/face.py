"""Finds the face and its 68 landmarks: dlib's frontal detector (HOG) and shape predictor."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from models.cache import cached_path, cached_sha256
from models.catalog import LANDMARKS
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import Rejection, RejectionReason

MINIMUM_FACE_PIXELS = 200
"""Least extent of the landmarks in photograph pixels; below it a face has no detail to judge."""

_DETECTION_SIDE = 640  # longer side, in pixels, of the reduced photograph that the detector sees first

_PERTURBATIONS = tuple(product((0.95, 1.0, 1.05), (-0.06, 0.0, 0.06), (-0.06, 0.0, 0.06)))
"""Size, and shift in half widths, of the boxes that landmarks are fitted from."""


@dataclass(frozen=True, slots=True)
class Face:
    """A detected face: landmarks (68, 2) float64, (column, row) in photograph pixels; detector's score."""

    landmarks: NDArray[np.float64]
    confidence: float


class FaceFinder:
    """dlib's detector and landmark model, loaded once."""

    def __init__(self, landmark_model: Path, sha256: str = "") -> None:
        """Take the landmark model's file and its digest."""
        self.sha256 = sha256
        self._detector = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(str(landmark_model))

    def find(self, rgb: NDArray[np.uint8]) -> Face:
        """Return the most confident face of a photograph, uint8 (rows, columns, 3).

        The detector sees a reduced photograph first, then the whole one at up to twice that size; landmarks
        are fitted at up to 1280 px, where the model's accuracy no longer grows.
        Raises UnscorablePhotographError(NO_FACE or FACE_TOO_SMALL).
        """
        rows, columns = rgb.shape[:2]
        for side, upsample in ((_DETECTION_SIDE, 0), (2 * _DETECTION_SIDE, 0), (2 * _DETECTION_SIDE, 1)):
            factor = min(1.0, side / max(rows, columns))
            reduced = (
                rgb
                if factor == 1.0
                else cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            )
            boxes, confidences, _ = self._detector.run(np.ascontiguousarray(reduced), upsample, 0.0)
            if len(boxes) > 0:
                best = int(np.argmax(confidences))
                return self._measured(rgb, boxes[best], factor, confidences[best])
        raise UnscorablePhotographError(
            Rejection(
                RejectionReason.NO_FACE,
                "No frontal face was found. Take the photograph upright, facing the camera, evenly lit.",
                rows,
                columns,
            )
        )

    def _measured(
        self, rgb: NDArray[np.uint8], box: dlib.rectangle, factor: float, confidence: float
    ) -> Face:
        rows, columns = rgb.shape[:2]
        fine = min(1.0, 2 * _DETECTION_SIDE / max(rows, columns))
        picture = (
            rgb if fine == 1.0 else cv2.resize(rgb, None, fx=fine, fy=fine, interpolation=cv2.INTER_AREA)
        )
        ratio = fine / factor
        edges = np.array([box.left(), box.top(), box.right(), box.bottom()]) * ratio
        landmarks = (self._fitted(np.ascontiguousarray(picture), edges) + 0.5) / fine - 0.5
        size = float(max(np.ptp(landmarks[:, 0]), np.ptp(landmarks[:, 1])))
        if size < MINIMUM_FACE_PIXELS:
            raise UnscorablePhotographError(
                Rejection(
                    RejectionReason.FACE_TOO_SMALL,
                    f"The face is {size:.0f} px across; at least {MINIMUM_FACE_PIXELS} px are needed. "
                    "Move closer or use a higher resolution.",
                    rows,
                    columns,
                )
            )
        return Face(landmarks, float(confidence))

    def _fitted(self, picture: NDArray[np.uint8], edges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of the fits from 27 boxes around the detector's: one alone jumps by pixels.

        edges: left, top, right, bottom of the detector's box in `picture`. (68, 2) in its pixels.
        """
        middle, half = (edges[:2] + edges[2:]) / 2, (edges[2:] - edges[:2]) / 2
        total = np.zeros((68, 2))
        for size, x, y in _PERTURBATIONS:
            corner, other = middle + half * (x - size, y - size), middle + half * (x + size, y + size)
            shape = self._predictor(picture, dlib.rectangle(*(round(v) for v in (*corner, *other))))
            total += [(shape.part(n).x, shape.part(n).y) for n in range(68)]
        return total / len(_PERTURBATIONS)


def load_face_finder() -> FaceFinder:
    """Load the finder with the fetched landmark model. Raises WeightsMissingError."""
    file = "shape_predictor_68_face_landmarks.dat"
    return FaceFinder(cached_path(LANDMARKS, file), cached_sha256(LANDMARKS, file))
