"""Every figure of a card, computed a second time in another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.calibration_card_text import with_interval
from pipeline.regression_errors import (
    age_band,
    bias,
    bootstrapped,
    calibration_line,
    group_errors,
    mean_absolute_error,
    pearson,
    root_mean_square,
    severity_errors,
)

RANDOM = np.random.default_rng(6)
RATED = RANDOM.uniform(1, 7, 60)
PREDICTED = np.clip(RATED + RANDOM.normal(0.4, 0.8, 60), 1, 7)
PEOPLE = [f"p{n // 2}" for n in range(60)]


def test_r_and_mae_and_bias_by_hand() -> None:
    predicted, rated = np.array([1.0, 2, 4]), np.array([2.0, 2, 7])
    assert mean_absolute_error(predicted, rated) == pytest.approx((1 + 0 + 3) / 3)
    assert bias(predicted, rated) == pytest.approx(-4 / 3)
    assert root_mean_square(predicted, rated) == pytest.approx(math.sqrt(10 / 3))
    assert pearson(PREDICTED, RATED) == pytest.approx(stats.pearsonr(PREDICTED, RATED).statistic)
    assert pearson(-PREDICTED, RATED) == pytest.approx(-pearson(PREDICTED, RATED))
    assert math.isnan(pearson(np.full(5, 3.3), np.arange(5.0)))


def test_the_interval_of_a_mean_is_the_one_of_statistics() -> None:
    # One photograph a person: the bootstrap of a mean is nearly normal, with the standard error as spread.
    errors = np.abs(PREDICTED - RATED)
    alone = [str(n) for n in range(60)]
    found = bootstrapped(mean_absolute_error, PREDICTED, RATED, alone, seed=0)
    half = 1.96 * errors.std() / math.sqrt(60)
    assert found.value == pytest.approx(errors.mean())
    assert found.low == pytest.approx(errors.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(errors.mean() + half, abs=0.15 * half)


def test_of_few_people_the_interval_holds_the_true_figure_about_as_often_as_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.regression_errors.RESAMPLES", 500)
    # The errors are normal, of a known mean; a plain percentile interval holds it 82 times in 100.
    random = np.random.default_rng(11)
    held = 0
    for seed in range(150):
        errors = random.normal(0.5, 1, 5)
        found = bootstrapped(bias, errors, np.zeros(5), list("abcde"), seed)
        held += found.low <= 0.5 <= found.high
    assert held >= 0.88 * 150


def test_ten_copies_of_a_persons_photograph_do_not_narrow_the_interval() -> None:
    once = bootstrapped(mean_absolute_error, PREDICTED, RATED, [str(n) for n in range(60)], seed=0)
    tenfold = [np.repeat(values, 10) for values in (PREDICTED, RATED)]
    copies = bootstrapped(
        mean_absolute_error, *tenfold, [str(n) for n in range(60) for _ in range(10)], seed=0
    )
    assert copies.high - copies.low == pytest.approx(once.high - once.low, rel=0.05)


def test_what_is_not_defined_is_null_in_the_card() -> None:
    found = bootstrapped(pearson, np.full(6, 2.0), np.arange(6.0), list("abcdef"), seed=0)
    assert found.as_json() == {"value": None, "low": None, "high": None}
    assert bootstrapped(pearson, PREDICTED, RATED, PEOPLE, 0).as_json()["value"] == pytest.approx(
        stats.pearsonr(PREDICTED, RATED).statistic, abs=1e-4
    )


def test_bands_of_severity_meet_without_overlap() -> None:
    rated = np.repeat([1.0, 2.99, 3.0, 4.9, 5.0, 7.0], 3)
    predicted = rated + np.repeat([0.1, 0.3, -0.5, 0.5, -1, -1], 3)
    people = [str(n) for n in range(18)]
    found = list(severity_errors(predicted, rated, people, seed=0).values())
    assert [error.photographs for error in found] == [6, 6, 6]
    assert [error.mae.value for error in found] == pytest.approx([0.2, 0.5, 1])
    assert [error.bias.value for error in found] == pytest.approx([0.2, 0, -1])
    mild = "mild or none, 5 to 7"
    assert list(severity_errors(predicted[10:], rated[10:], people[10:], seed=0)) == [mild]


def test_groups_of_few_people_get_no_figure_of_their_own() -> None:
    values = ["girl"] * 20 + ["boy"] * 12 + ["rare"] * 8 + ["rarer"] * 2 + [""] * 18
    found = group_errors(PREDICTED, RATED, PEOPLE, values, seed=0)
    # 10, 6 and 9 people; the eight photographs of the rare one show four.
    assert list(found) == ["boy", "girl", "not stated", "values of fewer than 5 people"]
    assert [(e.photographs, e.people) for e in found.values()] == [(12, 6), (20, 10), (18, 9), (10, 5)]
    girls = np.abs(PREDICTED[:20] - RATED[:20]).mean()
    assert found["girl"].mae.value == pytest.approx(girls)
    assert found["girl"].mae.low < girls < found["girl"].mae.high


def test_a_single_patient_stands_in_no_group() -> None:
    values = ["girl"] * 50 + ["rare"] * 2 + ["rarer"] * 2 + ["girl"] * 6
    # 25 + 3 people are girls; the others are two.
    assert list(group_errors(PREDICTED, RATED, PEOPLE, values, seed=0)) == ["girl"]


def test_two_people_show_no_correlation_and_no_interval() -> None:
    two = (np.array([5.0, 2.0]), np.array([1.0, 7.0]), ["a", "b"])
    assert bootstrapped(pearson, *two, seed=0).as_json() == {"value": None, "low": None, "high": None}
    error = bootstrapped(mean_absolute_error, *two, seed=0).as_json()
    assert error == {"value": 4.5, "low": None, "high": None}
    assert with_interval(error) == "4.50 (too few people for an interval)"
    several = bootstrapped(pearson, PREDICTED[:10], RATED[:10], list("abcdeabcde"), seed=0)
    assert several.low < several.value < several.high


def test_calibration_is_the_line_of_least_squares() -> None:
    slope, intercept = calibration_line(PREDICTED, RATED, PEOPLE)
    assert (slope, intercept) == pytest.approx(tuple(np.polyfit(PREDICTED, RATED, 1)))
    # Predictions twice as far from 4 as the ratings: half the slope mends them.
    assert calibration_line(4 + 2 * (RATED - 4), RATED, PEOPLE) == pytest.approx((0.5, 2))
    assert all(math.isnan(v) for v in calibration_line(np.full(6, 2.0), np.arange(6.0), list("abcdef")))
    assert all(math.isnan(v) for v in calibration_line(PREDICTED[:8], RATED[:8], PEOPLE[:8]))


@pytest.mark.parametrize(
    ("age", "band"),
    [("", ""), ("0", "0 to under 2"), ("1,9", "0 to under 2"), ("2", "2 to under 12"),
     ("64.9", "40 to under 65"), ("65", "65 and above"), ("130", "65 and above")],
)  # fmt: skip
def test_ages_come_in_bands(age: str, band: str) -> None:
    assert age_band(age) == band
