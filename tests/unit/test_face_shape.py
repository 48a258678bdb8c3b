"""One displaced part does not move the frame; a face as most are keeps the frame that it had."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.fit_face_shape import fit_shape
from pipeline.alignment import find_alignment
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.face_shape import ANCHORS, MIRRORED, load_face_shape, steady_anchors
from tests.faces import generated_face
from tests.landmarks import scattered_landmarks, usual_landmarks
from tests.real_weights import face_finder

UNIT = 256  # about the distance of the eyes in the frame


def moved_part(part: tuple[int, ...], shift: tuple[float, float]) -> NDArray[np.float64]:
    points = usual_landmarks()
    points[list(part)] += shift
    return points


def tilt(landmarks: NDArray[np.float64]) -> float:
    """Degrees by which the frame of `landmarks` is turned."""
    matrix = find_alignment(landmarks).matrix
    return float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))


def moved_by(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Mean way, in px of the frame, of the corners of the face from one alignment to another."""
    corners = np.array([[300.0, 300], [724, 300], [300, 800], [724, 800]])
    there = find_alignment(other).to_aligned(find_alignment(one).to_photograph(corners))
    return float(np.linalg.norm(there - corners, axis=1).mean())


@pytest.mark.parametrize("shift", [(0.15 * UNIT, 0.0), (-0.12 * UNIT, 0.05 * UNIT)])
def test_a_displaced_mouth_does_not_tilt_or_move_the_frame(shift: tuple[float, float]) -> None:
    points = moved_part(tuple(range(48, 68)), shift)
    # By the eyes and the mouth alone: 4 degrees where it goes sideways.
    assert abs(tilt(points)) < 0.4
    assert moved_by(usual_landmarks(), points) < 4


@pytest.mark.parametrize("shift", [(0.0, 0.16 * UNIT), (-0.1 * UNIT, 0.12 * UNIT)])
def test_a_displaced_eye_tilts_the_frame_little(shift: tuple[float, float]) -> None:
    points = moved_part(ANCHORS[0], shift)
    # By the eyes and the mouth alone: 3 to 4 degrees.
    assert abs(tilt(points)) < 1


def test_small_differences_between_people_count_in_full() -> None:
    points = usual_landmarks() + np.random.default_rng(2).normal(0, 1.5, (68, 2))
    for anchor, part in zip(steady_anchors(points), ANCHORS, strict=True):
        np.testing.assert_allclose(anchor, points[list(part)].mean(0), atol=1e-9)


def test_an_anchor_moves_without_a_jump() -> None:
    ways = np.linspace(0, 0.3 * UNIT, 60)
    mouths = [steady_anchors(moved_part(tuple(range(48, 68)), (way, 0)))[2] for way in ways]
    assert np.linalg.norm(np.diff(mouths, axis=0), axis=1).max() < 6


def test_landmarks_of_no_face_keep_their_own_anchors() -> None:
    points = scattered_landmarks(4)
    for anchor, part in zip(steady_anchors(points), ANCHORS, strict=True):
        np.testing.assert_allclose(anchor, points[list(part)].mean(0), atol=1e-9)


def test_shape_model_is_the_same_left_and_right() -> None:
    mean = load_face_shape().mean
    np.testing.assert_allclose(-mean[list(MIRRORED)].conj(), mean, atol=2e-5)


def test_fit_finds_the_modes_that_shapes_were_made_of() -> None:
    random = np.random.default_rng(0)
    base = (usual_landmarks() - 511.5) / 1024
    mouth = np.zeros((68, 2))
    mouth[48:, 1] = 1  # up and down: its own mirror image
    amounts = random.normal(0, 0.02, 200)
    turns = np.exp(1j * random.uniform(-0.05, 0.05, 200))
    shapes = [(base + amount * mouth) for amount in amounts]
    turned = (np.array(shapes) @ [1, 1j]) * turns[:, None]
    mean, modes, deviations = fit_shape(np.stack([turned.real, turned.imag], 2), 2)
    assert deviations[1] < 0.1 * deviations[0]
    moved = modes[0][[48, 54], 1].mean() - modes[0][36:48, 1].mean()
    assert abs(moved) > 10 * abs(modes[0][[48, 54], 0].mean())
    np.testing.assert_allclose(mean, base, atol=0.01)


@pytest.mark.real_weights
@pytest.mark.parametrize("kind", [AnomalyKind.MOUTH_DROOP, AnomalyKind.JAW_DEVIATION])
def test_drawn_anomalies_of_the_mouth_leave_the_frame_where_it_was(kind: AnomalyKind) -> None:
    face = generated_face(3)
    before = face_finder().find(face).landmarks
    after = face_finder().find(draw_anomaly(face, before, kind, 1.0, 0)).landmarks
    assert abs(tilt(after) - tilt(before)) < 0.8
    assert moved_by(before, after) < 6
