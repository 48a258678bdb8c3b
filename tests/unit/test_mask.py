"""The face mask and its outline."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.alignment import find_alignment
from pipeline.mask import BORDER, face_mask, face_outline, outline_in_photograph
from tests.faces import generated_face
from tests.landmarks import scattered_landmarks
from tests.real_weights import face_finder

seeds = st.integers(0, 2**32 - 1)


def aligned_landmarks(seed: int) -> NDArray[np.float64]:
    points = scattered_landmarks(seed)
    return find_alignment(points).to_aligned(points)


@settings(max_examples=15, deadline=None)  # 20 ms an example
@given(seeds)
def test_every_landmark_lies_well_inside(seed: int) -> None:
    landmarks = aligned_landmarks(seed)
    outline = face_outline(landmarks).astype(np.float32)
    for x, y in landmarks:
        if 0 <= x < 1024 and 0 <= y < 1024:
            assert cv2.pointPolygonTest(outline, (float(x), float(y)), True) > BORDER - 5 or near_edge(x, y)


def near_edge(x: float, y: float) -> bool:
    return min(x, y, 1023 - x, 1023 - y) < BORDER + 5


@settings(max_examples=15, deadline=None)  # 20 ms an example
@given(seeds)
def test_border_is_grown_by_fifty_pixels(seed: int) -> None:
    landmarks = aligned_landmarks(seed)
    hull = cv2.convexHull(landmarks.astype(np.float32))
    for x, y in face_outline(landmarks):
        if not near_edge(x, y):
            distance = -cv2.pointPolygonTest(hull, (float(x), float(y)), True)
            assert distance == pytest.approx(BORDER, abs=3)


@settings(max_examples=15, deadline=None)  # 20 ms an example
@given(seeds)
def test_mask_is_what_the_outline_encloses(seed: int) -> None:
    landmarks = aligned_landmarks(seed)
    mask = face_mask(landmarks)
    assert mask.dtype == np.float32
    assert mask.shape == (1024, 1024)
    assert set(np.unique(mask)) == {0.0, 1.0}
    filled = np.zeros((1024, 1024), np.uint8)
    cv2.fillPoly(filled, [face_outline(landmarks).round().astype(np.int32)], 1)
    assert (filled != mask).mean() < 0.003


def test_order_of_the_landmarks_does_not_matter() -> None:
    landmarks = aligned_landmarks(1)
    np.testing.assert_array_equal(face_mask(landmarks), face_mask(landmarks[::-1]))


@settings(max_examples=15, deadline=None)  # 20 ms an example
@given(seeds, st.integers(300, 700), st.integers(300, 700))
def test_outline_in_the_photograph_is_closed_and_inside(seed: int, rows: int, columns: int) -> None:
    landmarks = scattered_landmarks(seed)
    alignment = find_alignment(landmarks)
    outline = np.array(outline_in_photograph(alignment.to_aligned(landmarks), alignment, rows, columns))
    assert len(outline) >= 4
    np.testing.assert_array_equal(outline[0], outline[-1])
    assert outline.min() >= 0
    assert (outline <= (columns - 1, rows - 1)).all()


@pytest.mark.real_weights
@pytest.mark.parametrize("seed", [0, 1, 4])
def test_outline_surrounds_a_face_in_its_photograph(seed: int) -> None:
    face = generated_face(seed)
    photograph = cv2.copyMakeBorder(face, 100, 50, 200, 80, cv2.BORDER_REPLICATE)
    landmarks = face_finder().find(photograph).landmarks
    alignment = find_alignment(landmarks)
    outline = outline_in_photograph(alignment.to_aligned(landmarks), alignment, *photograph.shape[:2])
    polygon = np.array(outline, np.float32)
    for x, y in landmarks:
        inside = cv2.pointPolygonTest(polygon, (float(x), float(y)), True)
        assert inside > 0.9 * BORDER / alignment.scale
    # About a third of the frame: the face without hair and background.
    assert 0.2 < face_mask(alignment.to_aligned(landmarks)).mean() < 0.6
