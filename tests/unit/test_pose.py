"""The pose of a face from its landmarks: turned heads are measured, an anomaly is not taken for one."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.fit_face_shape import fit_depth
from pipeline.face_shape import MIRRORED, load_face_shape
from pipeline.pose import estimate_pose
from tests.landmarks import usual_landmarks


def turned(yaw: float, pitch: float, roll: float = 0.0) -> NDArray[np.float64]:
    """The model's solid face, turned about its vertical axis, then the one through the ears, then leaned."""
    model = load_face_shape()
    x, y, z = model.mean.real, model.mean.imag, model.depth
    a, b, c = np.radians((yaw, pitch, roll))
    x, z = x * np.cos(a) + z * np.sin(a), z * np.cos(a) - x * np.sin(a)
    y = y * np.cos(b) + z * np.sin(b)
    x, y = x * np.cos(c) - y * np.sin(c), x * np.sin(c) + y * np.cos(c)
    return np.stack((x, y), axis=1) * 700 + (900, 400)


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll"),
    [(0, 0, 0), (25, 0, 0), (-35, 0, 0), (0, 15, 0), (0, -20, 0), (15, 10, 0), (10, 0, 170)],
)
def test_a_turned_head_is_measured(yaw: float, pitch: float, roll: float) -> None:
    pose = estimate_pose(turned(yaw, pitch, roll))
    assert pose.yaw == pytest.approx(yaw, abs=2)
    assert pose.pitch == pytest.approx(pitch, abs=2)
    assert pose.roll == pytest.approx(roll, abs=6)


def test_signs_are_those_of_the_picture() -> None:
    """Turned to the right in the picture, the nose goes right; chin down, down; leaning, clockwise."""
    straight = turned(0, 0)
    assert turned(20, 0)[30, 0] > straight[30, 0] + 20
    assert turned(0, 20)[30, 1] > straight[30, 1] + 20
    assert turned(0, 0, 20)[16, 1] > straight[16, 1] + 20


@pytest.mark.parametrize(
    ("part", "shift"), [(range(27, 36), 0.16), (range(48, 68), 0.15), (range(5, 12), 0.3)]
)
def test_one_part_to_the_side_is_not_taken_for_a_turned_head(part: range, shift: float) -> None:
    points = usual_landmarks()
    points[list(part), 0] += shift * 250
    assert abs(estimate_pose(points).yaw) < 6


def test_pose_does_not_depend_on_size_and_place() -> None:
    points = turned(12, 5)
    one, other = estimate_pose(points), estimate_pose(points * 0.3 + (55, 8))
    assert (one.yaw, one.pitch, one.roll) == pytest.approx((other.yaw, other.pitch, other.roll))


def test_coinciding_landmarks_are_refused() -> None:
    with pytest.raises(ValueError, match="coincide"):
        estimate_pose(np.full((68, 2), 3.0))


def test_depth_is_found_from_turned_faces() -> None:
    """Faces that differ by the turn of the head and by chance."""
    random = np.random.default_rng(0)
    shapes = np.array(
        [turned(random.normal(0, 10), 0) / 700 + random.normal(0, 0.002, (68, 2)) for _ in range(60)]
    )
    depth = fit_depth(shapes - (900 / 700, 400 / 700))
    expected = load_face_shape().depth
    assert np.corrcoef(depth, expected)[0, 1] > 0.99
    np.testing.assert_allclose(depth[list(MIRRORED)], depth, atol=1e-9)
