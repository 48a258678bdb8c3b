"""The figures of the candidates' study, from rows whose answer is known."""

from __future__ import annotations

import statistics

import pytest

from bench.study_candidates import figures, studied
from models.regressor import load_regressor
from tests.tiny import TINY_GENERATOR

LINE = load_regressor(TINY_GENERATOR.with_name("tiny-regressor.json"))
"""A score of 4 - 0.8 (d_xperc - 0.35) / 0.05."""


def row(face: int, deformed: bool, *d_xperc: float) -> dict[str, object]:
    candidates = [{"d_xperc": value} for value in d_xperc]
    return {"face": face, "deformed": deformed, "candidates": candidates, "seconds": {"normalize": 2.0}}


ROWS = [
    row(0, False, *([0.30, 0.32] * 5)),
    row(0, False, *([0.34, 0.30] * 5)),
    row(0, True, *([0.38, 0.36] * 5)),
    row(0, True, *([0.40, 0.44] * 5)),
]


def score(d_xperc: float) -> float:
    return 4 - 0.8 * (d_xperc - 0.35) / 0.05


@pytest.mark.parametrize(("k", "means"), [(1, (0.30, 0.34, 0.38, 0.40)), (2, (0.31, 0.32, 0.37, 0.42))])
def test_scores_are_those_of_the_mean_over_k(k: int, means: tuple[float, ...]) -> None:
    scores = [score(value) for value in means]
    found = figures(ROWS, k, LINE)
    variances = statistics.variance(scores[:2]), statistics.variance(scores[2:])
    repeat_sd = statistics.mean(variances) ** 0.5
    growth = statistics.mean(scores[:2]) - statistics.mean(scores[2:])
    assert found["repeat_sd"] == pytest.approx(repeat_sd, abs=1e-4)
    assert found["growth"] == pytest.approx(growth, abs=1e-4)
    assert found["separation"] == pytest.approx(growth / repeat_sd, abs=1e-3)


def test_spread_is_that_of_the_candidates_own_scores() -> None:
    found = figures(ROWS, 2, LINE)
    spreads = [
        statistics.stdev([score(one), score(other)])
        for one, other in ((0.30, 0.32), (0.34, 0.30), (0.38, 0.36), (0.40, 0.44))
    ]
    assert found["spread"] == pytest.approx(statistics.mean(spreads), abs=1e-4)
    assert "spread" not in figures(ROWS, 1, LINE)


def test_record_has_every_k() -> None:
    record = studied(ROWS, LINE)
    assert list(record["by_k"]) == [str(k) for k in range(1, 11)]
    assert (record["faces"], record["photographs"], record["normalize_seconds_at_10"]) == (1, 4, 2.0)
