"""Figures of a photograph's landmarks beside the normalized face's, and what is kept of a row."""

from __future__ import annotations

import numpy as np
import pytest

from bench.following_landmarks import FOUND, MOVED, figures, with_figures
from bench.validation_cases import Case
from bench.validation_rows import Row
from pipeline.face_shape import Points
from tests.unit.test_anomaly import landmarks

_LEFT_EYE, _MOUTH = slice(42, 48), slice(48, 68)


@pytest.fixture
def there() -> Points:
    """Landmarks in shares of the side."""
    return np.asarray((landmarks() + 0.5) / 1024)


def test_a_face_that_is_its_own_normalized_one_shows_nothing_but_its_own_disagreement(there: Points) -> None:
    found = figures(there, there)
    assert found.pop("disagreement") > 0
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-9)


def test_an_eye_that_lies_lower_than_the_normalized_face_has_it_is_seen(there: Points) -> None:
    seen = there.copy()
    seen[_LEFT_EYE] += (0, 0.03)
    found = figures(seen, there)
    assert found["farthest"] > 0.008
    assert found["one-sided"] > 0.008
    assert found["tilt"] > 0.02


def test_a_turned_mouth_tilts_by_as_much_as_it_is_turned(there: Points) -> None:
    seen, turn = there.copy(), np.deg2rad(8)
    middle = seen[_MOUTH].mean(0)
    around = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    seen[_MOUTH] = (seen[_MOUTH] - middle) @ around.T + middle
    assert figures(seen, there)["tilt"] == pytest.approx(turn, abs=1e-6)


def test_what_both_faces_share_does_not_count(there: Points) -> None:
    seen = there.copy()
    seen[_LEFT_EYE] += (0, 0.03)
    both = figures(seen, seen)
    assert both["farthest"] == both["one-sided"] == both["tilt"] == 0


def test_a_row_gets_the_figures_of_both_sorts_of_landmarks(there: Points) -> None:
    lower = there.copy()
    lower[_LEFT_EYE] += (0, 0.03)
    row = Row("1", "tuning", "neutral", "scar", 0.5, 0.5, {}, {"n_peak": 0.1}, (), {})
    kept = {FOUND: np.stack([there, there]), MOVED: np.stack([lower, there])}
    features = with_figures(row, kept).features
    assert features["n_peak"] == 0.1
    assert features["moved tilt"] > features["found tilt"]
    assert row.name == Case("1", "tuning", "neutral", "scar", 0.5).name
