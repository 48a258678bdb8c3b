"""Which features are kept: important ones, none of two that say the same."""

from __future__ import annotations

import numpy as np

from pipeline.feature_selection import choose, select_features


def test_importance_of_five_percent_and_no_twin() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 4))
    x[:, 1] = -2 * x[:, 0] + 1e-3 * x[:, 3]  # the same as the first, upside down
    importance = {"a": 0.5, "b": 0.4, "c": 0.051, "d": 0.049}
    assert choose("abcd", x, importance) == (("a", "c"), {"b": "a"})
    importance = {"a": 0.4, "b": 0.5, "c": 0.05, "d": 0.05}  # exactly the threshold is not above it
    assert choose("abcd", x, importance) == (("b",), {"a": "b"})


def test_correlation_just_below_the_threshold_keeps_both() -> None:
    a = np.array([1.0, 1, -1, -1])
    b = np.array([1.0, -1, 1, -1])
    for r, kept in ((0.89, ("a", "b")), (0.91, ("a",))):
        x = np.column_stack([a, r * a + np.sqrt(1 - r**2) * b])
        assert choose("ab", x, {"a": 0.6, "b": 0.4})[0] == kept


def test_where_all_are_worth_the_same_the_five_first_stay() -> None:
    names = [f"f{n:02d}" for n in range(25)]
    x = np.random.default_rng(1).normal(size=(200, 25))
    assert choose(names, x, dict.fromkeys(names, 0.04))[0] == tuple(names[:5])


def test_trees_see_what_decides_even_where_no_line_could() -> None:
    random = np.random.default_rng(2)
    x = random.uniform(-1, 1, size=(150, 6))
    ratings = 1 + 5 * np.abs(x[:, 4]) + x[:, 1]
    found = select_features("abcdef", x, ratings, seed=0, trees=200)
    assert found.chosen[0] == "e"
    assert "b" in found.chosen
    assert np.isclose(sum(found.importance.values()), 1)
    assert select_features("abcdef", x, ratings, seed=0, trees=200) == found
