"""Finds the face and its 68 landmarks: dlib's detectors and shape predictor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from pathlib import Path

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from models.cache import WeightsMissingError, cached_path, cached_sha256
from models.catalog import FACE_DETECTOR, LANDMARKS
from pipeline.face_detection import DETECTION_SIDE, Detection, FaceDetector, reduced, turned_back
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import Rejection, RejectionReason

MINIMUM_FACE_PIXELS = 200
"""Least extent of the landmarks in photograph pixels; below it a face has no detail to judge."""

_PERTURBATIONS = tuple(product((0.95, 1.0, 1.05), (-0.06, 0.0, 0.06), (-0.06, 0.0, 0.06)))
"""Size, and shift in half widths, of the boxes that landmarks are fitted from."""

_BALANCED = tuple(_PERTURBATIONS[9 * n + 3 * k + (n + k) % 3] for n, k in product(range(3), repeat=2))
"""A third of them, in which every size and every shift is as frequent as in all."""

_USUAL_BOX = (-0.06, -0.12, 1.31)
"""Middle, from the landmarks' mean, and half width of the frontal detector's box, in their deviations.

Medians of ten faces. The network draws its boxes otherwise; the landmark model knows the frontal detector's.
"""


_STEADY_LEAN = 15.0
"""Degrees up to which landmarks are fitted to a leaning face as it is; beyond, to the face turned upright."""

_STRAIGHTENINGS = 2
_UNSTEADY = 0.05  # spread; an upright face has 0.002 to 0.03, one that leans by 50 degrees 0.1


class FaceSource(StrEnum):
    """Who found the face."""

    DETECTOR = "detector"
    NETWORK = "network"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Face:
    """A face and how it was found.

    landmarks: (68, 2) float64, (column, row) in photograph pixels. confidence: the detector's score. spread:
    how far single fits of a landmark lie apart, one standard deviation as a share of the face's size; 0 where
    a person gave the landmarks. rival: size of the largest other face as a share of this one's; 0 without
    one.
    """

    landmarks: NDArray[np.float64]
    confidence: float
    source: FaceSource = FaceSource.DETECTOR
    spread: float = 0.0
    rival: float = 0.0

    @property
    def size(self) -> float:
        """Extent of the landmarks across or down, whichever is more, in photograph pixels."""
        return float(np.ptp(self.landmarks, axis=0).max())


class FaceFinder:
    """dlib's detectors and landmark model, loaded once."""

    def __init__(
        self,
        landmark_model: Path,
        sha256: str = "",
        network: Path | None = None,
        minimum_pixels: int = MINIMUM_FACE_PIXELS,
        network_sha256: str = "",
    ) -> None:
        """Take the landmark model's file and digest, the detection network's, and the least face size.

        Raises WeightsMissingError where a file is damaged.
        """
        self.sha256, self.detector_sha256 = sha256, network_sha256
        self._detector = FaceDetector(network)
        try:
            self._predictor = dlib.shape_predictor(str(landmark_model))
        except RuntimeError as error:
            raise WeightsMissingError(LANDMARKS, landmark_model.name, damaged=True) from error
        self._minimum_pixels = minimum_pixels

    def find(self, rgb: NDArray[np.uint8]) -> Face:
        """Return the most confident face of a photograph, uint8 (rows, columns, 3).

        The detectors see a reduced photograph first (`pipeline.face_detection`); landmarks are fitted at up
        to 1280 px, where the model's accuracy no longer grows. A face on its side or upside down keeps the
        order of its landmarks. Raises UnscorablePhotographError(NO_FACE or FACE_TOO_SMALL).
        """
        rows, columns = rgb.shape[:2]
        found = self._detector.detect(rgb)
        if not found:
            detail = "No frontal face was found. Take the photograph upright, facing the camera, evenly lit."
            raise UnscorablePhotographError(Rejection(RejectionReason.NO_FACE, detail, rows, columns))
        best = found[0]
        landmarks, spread = self._landmarks(rgb, best)
        source = FaceSource.NETWORK if best.by_network else FaceSource.DETECTOR
        face = Face(landmarks, best.confidence, source, spread, _rival(found))
        return self.checked(face, rows, columns)

    def checked(self, face: Face, rows: int, columns: int) -> Face:
        """Return the face of a photograph of that size. Raises UnscorablePhotographError(FACE_TOO_SMALL)."""
        if face.size >= self._minimum_pixels:
            return face
        detail = (
            f"The face is {face.size:.0f} px across; at least {self._minimum_pixels} px are needed. "
            "Move closer or use a higher resolution."
        )
        raise UnscorablePhotographError(Rejection(RejectionReason.FACE_TOO_SMALL, detail, rows, columns))

    def fitted_near(
        self, rgb: NDArray[np.uint8], landmarks: NDArray[np.float64], seed: int
    ) -> NDArray[np.float64]:
        """Return the landmarks, (68, 2), of an upright face that lies about where `landmarks` say.

        Four of the usual 27 fits, which the seed draws: for training, where many faces are wanted.
        """
        chosen = np.random.default_rng(seed).choice(_PERTURBATIONS, 4, replace=False)
        fits = self._fits(rgb, _usual_box(landmarks), chosen.tolist())
        return np.asarray(fits.mean(0), dtype=np.float64)

    def steady_near(self, rgb: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the landmarks, (68, 2), of an upright face that lies about where `landmarks` say.

        The mean of nine of the usual 27 fits.
        """
        return np.asarray(self._fits(rgb, _usual_box(landmarks), _BALANCED).mean(0), dtype=np.float64)

    def _landmarks(self, rgb: NDArray[np.uint8], found: Detection) -> tuple[NDArray[np.float64], float]:
        """Return the landmarks in photograph pixels, and their spread."""
        picture, fine = reduced(rgb, 2 * DETECTION_SIDE)
        picture = np.ascontiguousarray(np.rot90(picture, found.turns))
        box = found.box * fine
        if found.by_network:
            box = _usual_box(self._fit(picture, box))
        fits = self._fits(picture, box)
        if _spread(fits) > _UNSTEADY:  # covered, or leaning so far that no eye was met
            tried = [fits, *(self._straightened(picture, box, lean) for lean in (-45.0, 45.0))]
            fits = min(tried, key=_spread)
        for _ in range(_STRAIGHTENINGS if abs(_lean(fits.mean(0))) > _STEADY_LEAN else 0):
            fits = self._straightened(picture, _usual_box(fits.mean(0)), _lean(fits.mean(0)))
        turned = (fits.mean(0) + 0.5) / fine - 0.5
        return turned_back(turned, found.turns, *rgb.shape[:2]), _spread(fits)

    def _straightened(
        self, picture: NDArray[np.uint8], box: NDArray[np.float64], lean: float
    ) -> NDArray[np.float64]:
        """Return fits, (27, 68, 2) in `picture`, made on the face turned back by `lean` degrees."""
        middle, side = (box[:2] + box[2:]) / 2, float(box[2] - box[0])
        matrix = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), lean, 1.0)
        shift = np.asarray(matrix[:, 2], dtype=np.float64) + side - middle
        matrix = np.column_stack([matrix[:, :2], shift])
        around = round(2 * side) + 1
        upright = cv2.warpAffine(picture, matrix, (around, around), borderMode=cv2.BORDER_REPLICATE)
        box = np.array([side / 2, side / 2, side * 1.5, side * 1.5])
        fits = self._fits(np.asarray(upright, dtype=np.uint8), box)
        return np.asarray((fits - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T)

    def _fits(
        self,
        picture: NDArray[np.uint8],
        box: NDArray[np.float64],
        perturbations: Iterable[Sequence[float]] = _PERTURBATIONS,
    ) -> NDArray[np.float64]:
        """Return the fits from boxes around the detector's: one alone jumps, the mean of 27 hardly does."""
        middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
        fits = []
        for size, x, y in perturbations:
            near, far = middle + half * (x - size, y - size), middle + half * (x + size, y + size)
            fits.append(self._fit(picture, np.concatenate([near, far])))
        return np.array(fits)

    def _fit(self, picture: NDArray[np.uint8], box: NDArray[np.float64]) -> NDArray[np.float64]:
        shape = self._predictor(picture, dlib.rectangle(*(round(v) for v in box.tolist())))
        return np.array([(shape.part(n).x, shape.part(n).y) for n in range(68)], dtype=np.float64)


def load_face_finder(minimum_pixels: int = MINIMUM_FACE_PIXELS) -> FaceFinder:
    """Load the finder with the fetched models.

    Raises WeightsMissingError without the landmark model, and where one of them is damaged.
    """
    file = "shape_predictor_68_face_landmarks.dat"
    network: Path | None = None
    network_sha256, optional = "", "mmod_human_face_detector.dat"
    with suppress(WeightsMissingError):
        network_sha256 = cached_sha256(FACE_DETECTOR, optional)
        network = cached_path(FACE_DETECTOR, optional)
    return FaceFinder(
        cached_path(LANDMARKS, file), cached_sha256(LANDMARKS, file), network, minimum_pixels, network_sha256
    )


def _spread(fits: NDArray[np.float64]) -> float:
    """Return one standard deviation of fits, (N, 68, 2), as a share of the face's size."""
    return float(np.sqrt(fits.var(0).sum(-1).mean()) / np.ptp(fits.mean(0), axis=0).max())


def _lean(landmarks: NDArray[np.float64]) -> float:
    """Return by how many degrees the line through the eyes leans clockwise, -180 to 180."""
    x, y = landmarks[42:48].mean(0) - landmarks[36:42].mean(0)
    return float(np.degrees(np.arctan2(y, x)))


def _usual_box(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    mean = landmarks.mean(0)
    deviation = np.sqrt(((landmarks - mean) ** 2).sum(1).mean())
    middle, half = mean + np.array(_USUAL_BOX[:2]) * deviation, _USUAL_BOX[2] * deviation
    return np.concatenate([middle - half, middle + half])


def _rival(found: list[Detection]) -> float:
    """Return the size of the largest other face as a share of the first one's; boxes of one face overlap."""
    best = found[0]
    middle = (best.box[:2] + best.box[2:]) / 2
    others = [other.side / best.side for other in found[1:] if not _inside(middle, other, best)]
    return max(others, default=0.0)


def _inside(middle: NDArray[np.float64], other: Detection, best: Detection) -> bool:
    its = (other.box[:2] + other.box[2:]) / 2
    within_other = bool((other.box[:2] < middle).all() and (middle < other.box[2:]).all())
    return within_other or bool((best.box[:2] < its).all() and (its < best.box[2:]).all())
