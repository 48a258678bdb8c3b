"""Figures of landmarks: what each of them sees, and what it does not."""

import numpy as np
import pytest

from bench.landmark_limit import Marked, as_table, figures, limits
from pipeline.face_shape import MIRRORED, Points
from tests.unit.test_anomaly import landmarks

_LEFT_EYE = list(range(42, 48))


@pytest.fixture
def even() -> Points:
    """Landmarks that are their own mirror image."""
    points = landmarks().astype(np.float64)
    turned = points[list(MIRRORED)] * (-1, 1)
    turned[:, 0] += 2 * points[:, 0].mean()
    return (points + turned) / 2


def test_an_even_face_is_one_sided_nowhere(even: Points) -> None:
    found = figures(even)
    for name in ("most one-sided part", "one-sided chin", "tilt of the mouth"):
        assert found[name] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("figure", ["farthest part", "most one-sided part", "tilt of the mouth"])
def test_an_eye_that_lies_lower_is_seen(even: Points, figure: str) -> None:
    lower = even.copy()
    lower[_LEFT_EYE] += (0, 30)
    assert figures(lower)[figure] > figures(even)[figure]


def test_where_the_whole_face_lies_does_not_count(even: Points) -> None:
    assert figures(even + np.array((7, -5))) == pytest.approx(figures(even), abs=1e-6)


def test_limits_are_told_in_deviations_of_the_undeformed(even: Points) -> None:
    random, lower = np.random.default_rng(2), even.copy()
    lower[_LEFT_EYE] += (0, 40)
    people = [even + random.normal(0, 4, even.shape) for _ in range(8)]
    marked = [told("", one, one) for one in people] + [told("eye_displaced", even, lower)]
    record = limits(marked)
    assert record["eye_displaced"]["most one-sided part"]["there"] > 5
    assert record["eye_displaced"]["most one-sided part"]["found"] < 0  # evener than people
    assert len(as_table(record)) == 3


def told(kind: str, found: Points, there: Points) -> Marked:
    return Marked(kind, {"found": figures(found), "moved": figures(found), "there": figures(there)})
