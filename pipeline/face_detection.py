"""Where the faces of a photograph are: dlib's frontal detector, then what finds those that it does not see.

The steps are tried in order until one finds a face: the frontal detector (HOG) on the reduced photograph, on
a larger one and on that enlarged; then on the photograph turned by quarter turns, since a camera may say
nothing of how it was held; at last dlib's detection network, upright and turned. What the frontal detector is
not sure of may be no face: then the quarter turns have their say all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from models.cache import WeightsMissingError
from models.catalog import FACE_DETECTOR

DETECTION_SIDE = 640
"""Longer side, in pixels, of the reduced photograph that the detector sees first."""

_SIDES = ((DETECTION_SIDE, 0), (2 * DETECTION_SIDE, 0), (2 * DETECTION_SIDE, 1))
"""Longer sides that the frontal detector sees in turn, and how often the photograph is enlarged beyond."""

# 17 people, upright and turned upright, were sure by 1.1 to 2.9; what was taken for a face in photographs of
# them on their side or upside down, by up to 0.4.
_SURE = 1.0
_NETWORK_SIDE = 400  # 1.5 s and 200 MB; at 640 px 3.4 s and 415 MB
_NETWORK_SHORT_SIDE = 20  # holds no face that it would find; from 9 px down it writes beyond its memory
_NETWORK_CONFIDENCE = 0.6  # a face on its side still gets up to 0.35, an upright one about 1


@dataclass(frozen=True, slots=True)
class Detection:
    """A face's box.

    box: left, top, right, bottom, (4,) float64, in pixels of the photograph after `turns` quarter turns
    counterclockwise (as `numpy.rot90`). by_network: found by the network only.
    """

    box: NDArray[np.float64]
    confidence: float
    turns: int = 0
    by_network: bool = False

    @property
    def side(self) -> float:
        """Width of the box in photograph pixels."""
        return float(self.box[2] - self.box[0])


class FaceDetector:
    """dlib's two detectors; the network is optional."""

    def __init__(self, network: Path | None = None) -> None:
        """Take the network's file, or None where it was not fetched.

        Raises WeightsMissingError where it is damaged, before a face that is hard to find needs it.
        """
        self._frontal = dlib.get_frontal_face_detector()
        try:
            self._network = None if network is None else dlib.cnn_face_detection_model_v1(str(network))
        except RuntimeError as error:
            raise WeightsMissingError(FACE_DETECTOR, network.name if network else "", damaged=True) from error

    def detect(self, rgb: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of the first step that finds any, the most confident first; else an empty list.

        Where that is in doubt, a face of which a quarter turn is sure comes before it.

        rgb: uint8 (rows, columns, 3).
        """
        found: list[Detection] = next((faces for faces in self._steps(rgb) if faces), [])
        if found and found[0].turns == 0 and not found[0].by_network and _confidence(found) < _SURE:
            turned = next((faces for faces in self._by_turns(rgb) if _confidence(faces) >= _SURE), [])
            found = turned or found
        return sorted(found, key=lambda face: -face.confidence)

    def _steps(self, rgb: NDArray[np.uint8]) -> Iterator[list[Detection]]:
        for side, upsample in _SIDES:
            yield self._by_frontal(rgb, side, upsample, 0)
        yield from self._by_turns(rgb)
        if self._network is not None:
            yield self._by_network(self._network, rgb, 0)
            yield _best_turn([self._by_network(self._network, rgb, turns) for turns in (1, 2, 3)])

    def _by_turns(self, rgb: NDArray[np.uint8]) -> Iterator[list[Detection]]:
        for side, upsample in _SIDES[:2]:
            yield _best_turn([self._by_frontal(rgb, side, upsample, turns) for turns in (1, 2, 3)])

    def _by_frontal(self, rgb: NDArray[np.uint8], side: int, upsample: int, turns: int) -> list[Detection]:
        picture, factor = reduced(rgb, side)
        boxes, confidences, _ = self._frontal.run(_turned(picture, turns), upsample, 0.0)
        return [
            Detection(_edges(box) / factor, float(confidence), turns)
            for box, confidence in zip(boxes, confidences, strict=True)
        ]

    def _by_network(
        self, network: dlib.cnn_face_detection_model_v1, rgb: NDArray[np.uint8], turns: int
    ) -> list[Detection]:
        if _NETWORK_SIDE * min(rgb.shape[:2]) < _NETWORK_SHORT_SIDE * max(rgb.shape[:2]):
            return []
        picture, factor = reduced(rgb, _NETWORK_SIDE)
        found = network(_turned(picture, turns), 0)
        return [
            Detection(_edges(one.rect) / factor, float(one.confidence), turns, by_network=True)
            for one in found
            if one.confidence >= _NETWORK_CONFIDENCE
        ]


def reduced(rgb: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], float]:
    """Return the photograph with its longer side at most `side`, and the factor that it was scaled by."""
    factor = min(1.0, side / max(rgb.shape[:2]))
    if factor == 1.0:
        return rgb, factor
    picture = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(picture, dtype=np.uint8), factor


def turned_back(points: NDArray[np.float64], turns: int, rows: int, columns: int) -> NDArray[np.float64]:
    """Map points (N, 2), (column, row) in the picture after `turns` quarter turns, into the picture itself.

    rows, columns: of the picture before it was turned.
    """
    x, y = points[:, 0], points[:, 1]
    corners = {0: (x, y), 1: (columns - 1 - y, x), 2: (columns - 1 - x, rows - 1 - y), 3: (y, rows - 1 - x)}
    return np.stack(corners[turns], axis=1)


def _turned(picture: NDArray[np.uint8], turns: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.rot90(picture, turns))


def _edges(box: dlib.rectangle) -> NDArray[np.float64]:
    return np.array([box.left(), box.top(), box.right(), box.bottom()], dtype=np.float64)


def _best_turn(found: list[list[Detection]]) -> list[Detection]:
    """Return the faces of the turn with the most confident one."""
    return max(found, key=_confidence)


def _confidence(faces: list[Detection]) -> float:
    """Return that of the most confident one."""
    return max((face.confidence for face in faces), default=-np.inf)
