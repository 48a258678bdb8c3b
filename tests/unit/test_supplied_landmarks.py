"""Landmarks that a person placed are taken as they are, or refused with what is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.rejection import UnscorablePhotographError
from pipeline.result import RejectionReason
from pipeline.supplied_landmarks import check_landmarks, landmarks_beside, read_landmarks
from tests.landmarks import usual_landmarks


def written(folder: Path, content: object) -> Path:
    file = folder / "face.jpg.landmarks.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def refusal(file: Path) -> str:
    with pytest.raises(UnscorablePhotographError) as caught:
        read_landmarks(file)
    assert caught.value.rejection.reason is RejectionReason.UNUSABLE_LANDMARKS
    return caught.value.rejection.detail


def test_points_come_out_as_they_were_written(tmp_path: Path) -> None:
    points = usual_landmarks()
    file = written(tmp_path, {"landmarks": points.tolist(), "placed_by": "anybody"})
    np.testing.assert_array_equal(read_landmarks(file), points)
    assert landmarks_beside(tmp_path / "face.jpg") == file
    assert landmarks_beside(tmp_path / "other.jpg") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not json", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([[1, 2]] * 68, "it has no"),
        ({"landmarks": [[1, 2]] * 67}, "it has 67"),
        ({"landmarks": [[1, 2]] * 67 + [[1]]}, "Landmark 67"),
        ({"landmarks": [[1, True]] + [[1, 2]] * 67}, "Landmark 0"),
        ('{"landmarks": [' + ", ".join(["[1, NaN]"] * 68) + "]}", "Landmark 0"),
        ('{"landmarks": [' + ", ".join(["[1, 1e999]"] * 68) + "]}", "Landmark 0"),
        (" " * 1_000_001, "larger than 1 MB"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_fault(
    tmp_path: Path, content: object, said: str
) -> None:
    assert said in refusal(written(tmp_path, content))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("landmarks") / "x.landmarks.json"
    file.write_bytes(data)
    refusal(file)


def placed_only(*parts: range) -> NDArray[np.float64]:
    """Return points of which only some were placed; the others stay at (0, 0)."""
    placed = [point for part in parts for point in part]
    points = np.zeros((68, 2))
    points[placed] = usual_landmarks()[placed]
    return points


def test_a_face_is_taken_and_may_be_turned() -> None:
    points = usual_landmarks()
    assert check_landmarks(points, 1024, 1024) is points
    upside_down = 1023 - points
    assert check_landmarks(upside_down, 1024, 1024) is upside_down


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (usual_landmarks() + np.array([900, 0]), "Landmark"),
        (usual_landmarks() * (-1, 1) + (1023, 0), "eye that is on the left"),
        (np.full((68, 2), 500.0), "eye that is on the left"),
        (placed_only(range(36, 42), range(42, 48), range(48, 68)), "in one place"),
        (placed_only(range(48, 68)) + np.linspace(0, 1, 68)[:, None] * (1, 0), "eye that is on the left"),
    ],
)
def test_points_of_no_face_in_this_photograph_are_refused(points: NDArray[np.float64], said: str) -> None:
    with pytest.raises(UnscorablePhotographError) as caught:
        check_landmarks(points, 1024, 1024)
    assert said in caught.value.rejection.detail
