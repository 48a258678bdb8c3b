"""Alignment: the same face comes out the same, wherever and however it stood in the photograph."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.alignment import ALIGNED_SIDE, align, find_alignment
from tests.faces import generated_face
from tests.landmarks import scattered_landmarks, usual_landmarks
from tests.real_weights import face_finder

seeds = st.integers(0, 2**32 - 1)


def similarity(scale: float, degrees: float, shift: tuple[float, float]) -> NDArray[np.float64]:
    """(2, 3): turns about the origin, scales, then shifts."""
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def moved(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return points @ matrix[:, :2].T + matrix[:, 2]


@settings(deadline=None)
@given(seeds, st.floats(0.1, 20), st.floats(-180, 180), st.floats(-3000, 3000), st.floats(-3000, 3000))
def test_points_come_back_to_the_photograph(
    seed: int, scale: float, degrees: float, x: float, y: float
) -> None:
    landmarks = moved(scattered_landmarks(seed), similarity(scale, degrees, (x, y)))
    alignment = find_alignment(landmarks)
    np.testing.assert_allclose(
        alignment.to_photograph(alignment.to_aligned(landmarks)), landmarks, rtol=0, atol=1e-6
    )


@settings(deadline=None)
@given(seeds, st.floats(0.1, 20), st.floats(-180, 180), st.floats(-3000, 3000), st.floats(-3000, 3000))
def test_aligned_landmarks_do_not_depend_on_place_size_and_turn(
    seed: int, scale: float, degrees: float, x: float, y: float
) -> None:
    landmarks = scattered_landmarks(seed)
    matrix = similarity(scale, degrees, (x, y))
    original, other = find_alignment(landmarks), find_alignment(moved(landmarks, matrix))
    np.testing.assert_allclose(
        other.to_aligned(moved(landmarks, matrix)), original.to_aligned(landmarks), rtol=0, atol=1e-6
    )
    assert other.scale == pytest.approx(original.scale / scale)


@settings(deadline=None)
@given(seeds)
def test_alignment_keeps_angles_and_handedness(seed: int) -> None:
    matrix = find_alignment(scattered_landmarks(seed)).matrix[:, :2]
    scale = np.sqrt(np.linalg.det(matrix))
    assert scale > 0
    np.testing.assert_allclose(matrix @ matrix.T, scale**2 * np.eye(2), atol=1e-9)


def test_eyes_come_to_lie_level_and_in_the_middle() -> None:
    landmarks = moved(usual_landmarks(), similarity(1.7, 25, (400, 90)))
    aligned = find_alignment(landmarks).to_aligned(landmarks)
    left, right = aligned[36:42].mean(0), aligned[42:48].mean(0)
    assert left[1] == pytest.approx(right[1])
    assert (left[0] + right[0]) / 2 == pytest.approx((ALIGNED_SIDE - 1) / 2)
    assert left[0] < right[0]
    mouth = aligned[[48, 54]].mean(0)
    assert mouth[1] > left[1]
    # FFHQ: half the side is the greater of 2 eye distances and 1.8 times the way from the eyes to the mouth.
    half = max(2 * (right[0] - left[0]), 1.8 * (mouth[1] - left[1]))
    assert half == pytest.approx(ALIGNED_SIDE / 2)
    assert left[1] + 0.1 * (mouth[1] - left[1]) == pytest.approx((ALIGNED_SIDE - 1) / 2)


def test_coinciding_landmarks_are_refused() -> None:
    with pytest.raises(ValueError, match="coincide"):
        find_alignment(np.full((68, 2), 7.0))


def mean_difference(one: NDArray[np.uint8], other: NDArray[np.uint8], margin: int = 0) -> float:
    inside = slice(margin, ALIGNED_SIDE - margin)
    return float(np.abs(one[inside, inside].astype(float) - other[inside, inside]).mean())


@pytest.mark.real_weights
@pytest.mark.parametrize("seed", range(6))
def test_generated_faces_are_aligned_already(seed: int) -> None:
    face = generated_face(seed)
    landmarks = face_finder().find(face).landmarks
    alignment = find_alignment(landmarks)
    # Measured: up to 9 px of 1024 over the first eight faces, and scales of 0.999 to 1.020.
    assert np.abs(alignment.to_aligned(landmarks) - landmarks).max() < 16
    assert alignment.scale == pytest.approx(1, abs=0.03)


@pytest.mark.real_weights
@pytest.mark.parametrize(
    ("scale", "degrees", "shift"),
    [(1.0, 0, (300, 150)), (0.6, 0, (50, 80)), (2.5, 0, (0, 0)), (1.0, 12, (300, 100)), (0.8, -9, (60, 260))],
)
def test_photograph_of_the_same_face_gives_the_same_aligned_face(
    scale: float, degrees: float, shift: tuple[float, float]
) -> None:
    face = generated_face(3)
    matrix = similarity(scale, degrees, shift)
    side = round(1024 * scale + 500)
    # Averaged down first where it gets smaller, as a camera would.
    photograph = cv2.warpAffine(
        cv2.GaussianBlur(face, (0, 0), 0.5 / scale) if scale < 1 else face,
        matrix,
        (side, side),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    landmarks = face_finder().find(face).landmarks
    known = align(photograph, find_alignment(moved(landmarks, matrix)))
    expected = align(face, find_alignment(landmarks))
    assert mean_difference(known, expected, margin=40) < 2.0  # measured: up to 1.2 of 255
    # The detector's own landmarks move with size and turn; measured: up to 4 px of 1024.
    found = find_alignment(face_finder().find(photograph).landmarks)
    there = found.to_aligned(moved(landmarks, matrix))
    assert np.abs(there - find_alignment(landmarks).to_aligned(landmarks)).max() < 8


def test_picture_and_points_go_the_same_way() -> None:
    """Dots in the photograph come to lie where the alignment says, below, at and above its size."""
    for size in (0.7, 1.0, 1.9, 4.5):
        landmarks = size * scattered_landmarks(1)
        rows, columns = np.mgrid[0 : round(600 * size), 0 : round(500 * size)]
        dots = landmarks[[2, 14, 8]]
        spots = [np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (3 * size) ** 2)) for x, y in dots]
        photograph = np.repeat(np.uint8(255 * sum(spots))[:, :, None], 3, 2)
        alignment = find_alignment(landmarks)
        aligned = align(photograph, alignment)
        for dot in alignment.to_aligned(dots):
            column, row = dot.round().astype(int)
            window = aligned[row - 40 : row + 41, column - 40 : column + 41, 0].astype(float)
            ys, xs = np.mgrid[-40:41, -40:41]
            centre = np.array([(window * xs).sum(), (window * ys).sum()]) / window.sum()
            np.testing.assert_allclose(centre, dot - dot.round(), rtol=0, atol=0.1)


def test_large_photographs_do_not_alias() -> None:
    """A pattern too fine for the frame turns grey; without averaging it would turn into coarse stripes."""
    landmarks = 10 * scattered_landmarks(2)
    photograph = np.zeros((6000, 5000, 3), np.uint8)
    photograph[:, ::2] = 255
    alignment = find_alignment(landmarks)
    assert alignment.scale < 0.4
    aligned = align(photograph, alignment)[300:700, 300:700]
    # Measured: 18, and 89 without averaging; the pattern itself has 127.5.
    assert aligned.std() < 25
    assert aligned.mean() == pytest.approx(127.5, abs=3)


def test_what_lies_outside_the_photograph_is_reflected() -> None:
    landmarks = scattered_landmarks(3) - (120, 150)
    photograph = np.random.default_rng(0).integers(100, 200, (500, 400, 3)).astype(np.uint8)
    aligned = align(photograph, find_alignment(landmarks))
    assert aligned.shape == (ALIGNED_SIDE, ALIGNED_SIDE, 3)
    # Cubic interpolation overshoots the noise, but black or white borders would go much further.
    assert aligned.min() > 40
    assert aligned.max() < 250
