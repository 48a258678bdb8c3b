"""What a regressor's file says about itself: data, selection, comparison, errors, date and versions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pipeline.feature_selection import GREATEST_CORRELATION, LEAST_IMPORTANCE, TREES
from pipeline.model_search import FOLDS
from pipeline.regression import HELD_OUT_SHARE, FittedRegressor, RatedFeatures
from pipeline.regression_errors import (
    LEVEL,
    RESAMPLES,
    GroupError,
    bootstrapped,
    calibration_line,
    group_errors,
    mean_absolute_error,
    pearson,
    severity_errors,
)

PAPER: Mapping[str, object] = MappingProxyType(
    {
        "r": 0.90,
        "mae": 0.57,
        "note": "Boyaci et al. 2020, public test set: other photographs, raters and generator, so not the "
        "same experiment.",
    }
)
"""What the paper reports, to stand beside a card's own figures."""

_PACKAGES = ("facenorm", "numpy", "scikit-learn", "optuna", "torch")


@dataclass(frozen=True, slots=True)
class RegressorOrigin:
    """What the features were measured with, and what the regressor is called.

    synthetic: whether the ratings come from a program.
    """

    name: str
    generator: str
    generator_sha256: str
    profile: str
    synthetic: bool


def regressor_document(
    fitted: FittedRegressor, origin: RegressorOrigin, card: Mapping[str, object]
) -> dict[str, object]:
    """Return the content of the regressor's file (`models.regressor`), ready for JSON."""
    return {
        "name": origin.name,
        "features": list(fitted.features),
        "mean": fitted.mean.tolist(),
        "scale": fitted.scale.tolist(),
        "members": [member.as_json() for member in fitted.members],
        "residual_std": fitted.residual_std,
        "generator": origin.generator,
        "generator_sha256": origin.generator_sha256,
        "profile": origin.profile,
        "synthetic": origin.synthetic,
        "card": dict(card),
    }


def calibration_card(
    data: RatedFeatures,
    fitted: FittedRegressor,
    described: Mapping[str, object],
    groups: Mapping[str, Sequence[str]],
    seed: int,
    date: str,
) -> dict[str, object]:
    """Return the card.

    described: what is known about the data besides (its digest, counts, the raters' deviation). groups:
    column -> value of each row of `data`. date: ISO 8601. Figures that are not defined are None.
    """
    everyone = (fitted.predictions, data.ratings, data.people)
    return {
        "date": date,
        "versions": {name: version(name) for name in _PACKAGES},
        "seed": seed,
        "data": dict(described),
        "selection": _selection(fitted),
        "model": fitted.model,
        "compared": {
            name: {key: _defined(value) for key, value in asdict(candidate).items()}
            for name, candidate in fitted.compared.items()
        },
        "search": {"method": "TPE", "folds": FOLDS, "grouped_by": "person", "held_out": HELD_OUT_SHARE},
        "held_out": _held_out(data, fitted, seed),
        "severity": _errors_as_json(severity_errors(*everyone, seed)),
        "groups": {
            column: _errors_as_json(group_errors(*everyone, values, seed))
            for column, values in groups.items()
        },
        "intervals": f"expanded percentile bootstrap over people, {RESAMPLES} resamples, {LEVEL:.0%}",
        "notes": "held_out: photographs of people whom neither selection nor search has seen. severity, "
        "groups: all photographs, each predicted without its person, by features chosen without it; the "
        "folds among them have guided the search, so these figures are a little too good. compared: those of "
        "the folds have features that all of their people have chosen; they tell models apart and are too "
        "good.",
        "paper": dict(PAPER),
    }


def _selection(fitted: FittedRegressor) -> dict[str, object]:
    return {
        "method": f"{TREES} extremely randomized trees",
        "least_importance": LEAST_IMPORTANCE,
        "greatest_correlation": GREATEST_CORRELATION,
        "importance": {name: round(v, 4) for name, v in fitted.selection.importance.items()},
        "dropped_as_collinear": dict(fitted.selection.collinear),
        "chosen": list(fitted.selection.chosen),
    }


def _held_out(data: RatedFeatures, fitted: FittedRegressor, seed: int) -> dict[str, object]:
    rows = np.flatnonzero(fitted.held_out)
    predicted, rated = fitted.predictions[rows], data.ratings[rows]
    people = [data.people[n] for n in rows]
    slope, intercept = calibration_line(predicted, rated, people)
    middle: NDArray[np.float64] = np.full(len(rows), data.ratings[~fitted.held_out].mean())
    return {
        "photographs": len(rows),
        "people": len(set(people)),
        "r": bootstrapped(pearson, predicted, rated, people, seed).as_json(),
        "mae": bootstrapped(mean_absolute_error, predicted, rated, people, seed).as_json(),
        "mae_of_always_the_mean_rating": round(mean_absolute_error(middle, rated), 4),
        "calibration": {"slope": _defined(slope), "intercept": _defined(intercept)},
    }


def _errors_as_json(errors: Mapping[str, GroupError]) -> dict[str, object]:
    return {
        name: {
            "photographs": error.photographs,
            "people": error.people,
            "mae": error.mae.as_json(),
            "bias": error.bias.as_json(),
        }
        for name, error in errors.items()
    }


def _defined(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
