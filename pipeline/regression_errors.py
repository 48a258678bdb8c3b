"""How far a regressor errs: R and MAE with bootstrap intervals, by severity and group, and calibration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Statistic = Callable[[Array, Array], float]

RESAMPLES = 2000
LEVEL = 0.95
FEWEST_PEOPLE = 5
"""Groups of fewer people get no figure: it would say much about single patients, and little about others."""

SEVERITY_BANDS: Mapping[str, tuple[float, float]] = {
    "severe, 1 to 3": (1.0, 3.0),
    "moderate, 3 to 5": (3.0, 5.0),
    "mild or none, 5 to 7": (5.0, math.inf),
}
"""Bands of the raters' mean: from the lower bound up to, not including, the upper one."""

_AGES = ((0, 2), (2, 12), (12, 18), (18, 40), (40, 65), (65, 131))


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its bootstrap interval of 95 %; NaN for what is not defined."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """Return value, low and high, None in the place of NaN."""
        figures = {"value": self.value, "low": self.low, "high": self.high}
        return {name: round(v, 4) if math.isfinite(v) else None for name, v in figures.items()}


@dataclass(frozen=True, slots=True)
class GroupError:
    """Errors of the photographs of one group: predicted minus rated, in points."""

    photographs: int
    people: int
    mae: Interval
    bias: Interval


def pearson(predicted: Array, rated: Array) -> float:
    """Return Pearson's R of two (M,); NaN where one of them does not vary."""
    a, b = predicted - predicted.mean(), rated - rated.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 1e-12 else math.nan


def correlation(predicted: Array, rated: Array, people: Sequence[str]) -> float:
    """Return Pearson's R of two (M,), NaN of fewer than 5 people: two points lie on a line in any case."""
    return pearson(predicted, rated) if len(set(people)) >= FEWEST_PEOPLE else math.nan


def mean_absolute_error(predicted: Array, rated: Array) -> float:
    """Return the mean of |predicted - rated|, in points."""
    return float(np.abs(predicted - rated).mean())


def bias(predicted: Array, rated: Array) -> float:
    """Return the mean of predicted - rated, in points: below zero where faces are scored too deformed."""
    return float((predicted - rated).mean())


def root_mean_square(predicted: Array, rated: Array) -> float:
    """Return the square root of the mean of (predicted - rated)^2, in points."""
    return float(np.sqrt(np.square(predicted - rated).mean()))


def bootstrapped(
    statistic: Statistic, predicted: Array, rated: Array, people: Sequence[str], seed: int
) -> Interval:
    """Return a statistic with its interval, people (all their photographs together) drawn with replacement.

    predicted, rated: (M,); people: (M,). Draws in which the statistic is not defined are left out. Of fewer
    than 5 people there is no interval, and no R (`correlation`). Its ends are percentiles farther out the
    fewer people there are (Hesterberg 2015, the expanded percentile interval): as for a mean, Student's t
    takes the place of the normal distribution, and n - 1 that of n. Plain ones of 5 people hold 82 %, not 95.
    """
    if len(set(people)) < FEWEST_PEOPLE:
        return Interval(math.nan if statistic is pearson else statistic(predicted, rated), math.nan, math.nan)
    random = np.random.default_rng(seed)
    rows_of = [np.flatnonzero(np.array(people) == person) for person in sorted(set(people))]
    drawn = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([rows_of[n] for n in random.integers(len(rows_of), size=len(rows_of))])
        drawn.append(statistic(predicted[rows], rated[rows]))
    defined = np.array([value for value in drawn if math.isfinite(value)])
    value = statistic(predicted, rated)
    if not len(defined) or not math.isfinite(value):
        return Interval(math.nan, math.nan, math.nan)
    count = len(rows_of)
    tail = stats.norm.cdf(math.sqrt(count / (count - 1)) * stats.t.ppf((1 - LEVEL) / 2, count - 1))
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def severity_errors(
    predicted: Array, rated: Array, people: Sequence[str], seed: int
) -> dict[str, GroupError]:
    """Return the errors in those of the three bands of the raters' mean that have 5 people or more."""
    bands = {name: (rated >= low) & (rated < high) for name, (low, high) in SEVERITY_BANDS.items()}
    return {
        name: _group(predicted[inside], rated[inside], _those(people, inside), seed)
        for name, inside in bands.items()
        if len(set(_those(people, inside))) >= FEWEST_PEOPLE
    }


def group_errors(
    predicted: Array, rated: Array, people: Sequence[str], values: Sequence[str], seed: int
) -> dict[str, GroupError]:
    """Return the errors by the value (M,) of a column.

    Values of fewer than 5 people are put together, and left out where even all of these are too few.
    """
    named = np.array([value or "not stated" for value in values])
    own, rest = [], np.zeros(len(named), dtype=bool)
    for value in sorted(set(named.tolist())):
        inside = named == value
        if len(set(_those(people, inside))) < FEWEST_PEOPLE:
            rest |= inside
        else:
            own.append((value, inside))
    if len(set(_those(people, rest))) >= FEWEST_PEOPLE:
        own.append((f"values of fewer than {FEWEST_PEOPLE} people", rest))
    return {
        value: _group(predicted[inside], rated[inside], _those(people, inside), seed) for value, inside in own
    }


def age_band(age: str) -> str:
    """Return the band of an age in years, "" for "": errors by single years would say nothing."""
    if not age:
        return ""
    years = float(age.replace(",", "."))
    low, high = next(band for band in _AGES if band[0] <= years < band[1])
    return f"{low} and above" if high > 130 else f"{low} to under {high}"


def calibration_line(predicted: Array, rated: Array, people: Sequence[str]) -> tuple[float, float]:
    """Return slope and intercept of the least-squares line of ratings over predictions; 1 and 0 are ideal.

    NaN for both where all predictions are equal, and of fewer than 5 people, as `correlation`.
    """
    centred = predicted - predicted.mean()
    spread = float(centred @ centred)
    if spread <= 1e-12 or len(set(people)) < FEWEST_PEOPLE:
        return math.nan, math.nan
    slope = float(centred @ rated) / spread
    return slope, float(rated.mean()) - slope * float(predicted.mean())


def _those(people: Sequence[str], inside: NDArray[np.bool_]) -> list[str]:
    return [person for person, is_inside in zip(people, inside, strict=True) if is_inside]


def _group(predicted: Array, rated: Array, people: Sequence[str], seed: int) -> GroupError:
    return GroupError(
        photographs=len(rated),
        people=len(set(people)),
        mae=bootstrapped(mean_absolute_error, predicted, rated, people, seed),
        bias=bootstrapped(bias, predicted, rated, people, seed),
    )
