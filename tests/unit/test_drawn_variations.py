"""What is drawn in training beside the named kinds: free anomalies, and what is no anomaly at all."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.anomaly_free import draw_free_anomaly
from pipeline.mask import face_mask
from pipeline.natural_variation import vary_person
from tests.unit.test_anomaly import change, face, landmarks

__all__ = ["face"]


@pytest.mark.parametrize("seed", range(12))
def test_free_anomaly_grows_with_its_strength_and_repeats_with_its_seed(
    face: NDArray[np.uint8], seed: int
) -> None:
    drawn = [draw_free_anomaly(face, landmarks(), strength, seed) for strength in (0.0, 0.3, 1.0)]
    np.testing.assert_array_equal(drawn[0], face)
    assert 0 < change(drawn[1], face) < change(drawn[2], face)
    np.testing.assert_array_equal(draw_free_anomaly(face, landmarks(), 1.0, seed), drawn[2])


def test_free_anomalies_lie_all_over_the_face(face: NDArray[np.uint8]) -> None:
    changed = np.zeros(face.shape[:2], bool)
    for seed in range(60):
        drawn = draw_free_anomaly(face, landmarks(), 1.0, seed)
        changed |= (drawn != face).any(axis=2)
    inside = face_mask(landmarks()) > 0
    assert changed[inside].mean() > 0.9


@pytest.mark.parametrize("strength", [-0.1, 1.1])
def test_strength_outside_its_range_is_refused(face: NDArray[np.uint8], strength: float) -> None:
    with pytest.raises(ValueError, match="outside 0 to 1"):
        draw_free_anomaly(face, landmarks(), strength, 1)


def test_traits_of_a_person_change_both_sides_alike(face: NDArray[np.uint8]) -> None:
    """The schematic face is symmetric, so what is drawn on its halves has to be as strong on both."""
    left, right = [], []
    for seed in range(12):
        changed = np.abs(vary_person(face, landmarks(), 1.0, seed).astype(np.float64) - face).mean(axis=2)
        left.append(changed[:, :512].mean())
        right.append(changed[:, 512:].mean())
    assert min(left) >= 0
    assert sum(left) > 0
    assert 0.75 < sum(left) / sum(right) < 1.33


def test_no_strength_leaves_the_person_as_is(face: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(vary_person(face, landmarks(), 0.0, 1), face)
