"""Shape features: a displaced part is told from the same face without it, whatever the picture's size."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.locating import AlignedFace, locate_face
from pipeline.shape_features import SHAPE_FEATURES, shape_features
from pipeline.stopwatch import Stopwatch
from tests.faces import generated_face
from tests.real_weights import face_finder

pytestmark = pytest.mark.real_weights


@cache
def face() -> AlignedFace:
    return locate_face(face_finder(), generated_face(3), Stopwatch())


def measured(kind: AnomalyKind | None, amplitude: float = 1.0) -> dict[str, float]:
    """Of the face with a drawn anomaly beside itself without."""
    one = face()
    seen = draw_anomaly(one.picture, one.landmarks, kind, amplitude, 1) if kind else one.picture
    return shape_features(face_finder(), seen, one.landmarks, one.picture)


def test_a_face_does_not_differ_from_itself() -> None:
    found = measured(None)
    assert tuple(found) == SHAPE_FEATURES
    assert found["s_chin"] == pytest.approx(0, abs=1e-9)
    assert 0 <= found["s_disagreement"] < 0.6


def test_a_chin_that_is_too_short_is_seen_in_proportion() -> None:
    half, whole = (measured(AnomalyKind.CHIN_SMALL, amplitude)["s_chin"] for amplitude in (0.5, 1.0))
    assert whole > 0.006  # 6 px of 1024
    assert 0.25 * whole < half < 0.8 * whole


def test_a_nose_that_is_off_disagrees_with_the_rest_and_leaves_the_chin() -> None:
    found = measured(AnomalyKind.NOSE_DEVIATION)
    assert found["s_disagreement"] > measured(None)["s_disagreement"] + 0.02
    assert found["s_chin"] < measured(AnomalyKind.CHIN_SMALL)["s_chin"]


def test_the_size_and_place_of_the_normalized_picture_do_not_matter() -> None:
    one = face()
    usual = shape_features(face_finder(), one.picture, one.landmarks, generated_face(4))["s_chin"]
    smaller = cv2.resize(generated_face(4), (700, 700), interpolation=cv2.INTER_AREA)
    assert shape_features(face_finder(), one.picture, one.landmarks, smaller)["s_chin"] == pytest.approx(
        usual, abs=0.002
    )
    moved = shifted(generated_face(4), 20)
    assert shape_features(face_finder(), one.picture, one.landmarks, moved)["s_chin"] == pytest.approx(
        usual, abs=0.004
    )
    assert usual > 0.004


def shifted(picture: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    matrix = np.array([[1.0, 0, by], [0, 1, by / 2]])
    side = len(picture)
    return np.asarray(
        cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
