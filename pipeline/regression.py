"""Features to ratings: selection, search and comparison on four fifths of the people, judged on the rest.

Boyaci et al. 2020, "Regression". 20 % of the people are held out before anything is chosen; no step ever puts
photographs of one person on both sides. The regressor that was judged is the one that is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, GroupShuffleSplit

from models.regressor import HIGHEST, LOWEST
from models.regressor_member import Member, mean_answer
from pipeline.feature_selection import FeatureSelection, select_features
from pipeline.model_search import FOLDS, Searched, search
from pipeline.regression_errors import correlation, mean_absolute_error, pearson, root_mean_square
from pipeline.regression_models import MODELS, Hyperparameters, RegressionModel

Array = NDArray[np.float64]

HELD_OUT_SHARE = 0.2
FEWEST_PEOPLE = 8
"""With fewer, the four fifths that are left cannot be split into five folds of people."""
TRIALS = 30


class TooFewPeopleError(ValueError):
    """There are too few people to learn from and to judge by."""


@dataclass(frozen=True, slots=True)
class RatedFeatures:
    """What a regressor is learned from.

    names: of the features. features: (M, F). ratings: (M,), the raters' means. people: (M,), who is shown.
    """

    names: tuple[str, ...]
    features: Array
    ratings: Array
    people: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ValueError where sizes differ or a figure is not finite."""
        rows = len(self.ratings)
        if self.features.shape != (rows, len(self.names)) or len(self.people) != rows:
            raise ValueError("names, features, ratings and people do not fit each other")
        if not (np.isfinite(self.features).all() and np.isfinite(self.ratings).all()):
            raise ValueError("features and ratings must be finite")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the six models: its best hyperparameters, and its errors in the folds and on held-out people.

    cross_validated_mae, cross_validated_r: too good, for all training people have chosen the features.
    held_out_r: NaN where these are too few for one.
    """

    hyperparameters: Hyperparameters
    trials: int
    cross_validated_mae: float
    cross_validated_r: float
    held_out_mae: float
    held_out_r: float


@dataclass(frozen=True, slots=True)
class FittedRegressor:
    """What a fit leaves.

    features, mean, scale: names (F,) in input order, and their standardization, from the training people.
    members: of the chosen model. residual_std: the greater of the root mean square residuals of the folds and
    of the held-out people, in points: the search has seen the folds, and the held-out part may be small.
    compared: every model. held_out: (M,), True for rows of held-out people. predictions: (M,) in points, each
    made without its person: by the regressor itself for held-out people, for the others by folds that choose
    and standardize features anew.
    """

    model: str
    selection: FeatureSelection
    features: tuple[str, ...]
    mean: Array
    scale: Array
    members: tuple[Member, ...]
    residual_std: float
    compared: Mapping[str, Candidate]
    held_out: NDArray[np.bool_]
    predictions: Array


def fit_regressor(
    data: RatedFeatures,
    seed: int,
    trials: int = TRIALS,
    tried: Callable[[str], None] = lambda model: None,
    models: Sequence[str] = tuple(MODELS),
) -> FittedRegressor:
    """Select features, search the models and keep the one with the least cross-validated MAE.

    trials: settings tried per model. tried: called with the model's name after each of them. models: names
    in `MODELS`, all six by default. Raises TooFewPeopleError for fewer than `FEWEST_PEOPLE` people.
    """
    held_out = hold_out(data.people, seed)
    train, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    ratings, people = data.ratings[train], [data.people[n] for n in train]
    judged_by = [data.people[n] for n in test]
    selection = select_features(data.names, data.features[train], ratings, seed)
    chosen = data.features[:, [data.names.index(name) for name in selection.chosen]]
    mean, scale = _standardization(chosen[train])
    x = (chosen - mean) / scale
    found: dict[str, tuple[Searched, list[Member], Array]] = {}
    for name in models:
        model = MODELS[name]
        best = search(model, x[train], ratings, people, seed, trials, lambda name=name: tried(name))  # type: ignore[misc]
        members = list(model.fit(x[train], ratings, best.hyperparameters, seed))
        answers = np.clip(mean_answer(members, x[test]), LOWEST, HIGHEST)
        found[name] = best, members, answers
    name = min(found, key=lambda model: found[model][0].mae)
    best, members, answers = found[name]
    in_folds = _answers_in_folds(MODELS[name], best.hyperparameters, data, train, seed)
    predictions = np.empty_like(data.ratings)
    predictions[train], predictions[test] = in_folds, answers
    return FittedRegressor(
        model=name,
        selection=selection,
        features=selection.chosen,
        mean=mean,
        scale=scale,
        members=tuple(members),
        residual_std=max(root_mean_square(in_folds, ratings), root_mean_square(answers, data.ratings[test])),
        compared={
            model: _candidate(found[model][0], ratings, found[model][2], data.ratings[test], judged_by)
            for model in found
        },
        held_out=held_out,
        predictions=predictions,
    )


def check_people(people: Iterable[str]) -> None:
    """Raise TooFewPeopleError for fewer than `FEWEST_PEOPLE` people."""
    count = len(set(people))
    if count < FEWEST_PEOPLE:
        raise TooFewPeopleError(
            f"photographs of {count} people can be used; at least {FEWEST_PEOPLE} are needed to hold out a "
            f"fifth of them and to split the others into {FOLDS} folds (and many more for a good regressor)"
        )


def hold_out(people: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """Return (M,), True for every row of the people that are held out: a fifth of them, drawn by the seed.

    Raises TooFewPeopleError for fewer than `FEWEST_PEOPLE` people.
    """
    check_people(people)
    split = GroupShuffleSplit(n_splits=1, test_size=HELD_OUT_SHARE, random_state=seed)
    _, test = next(split.split(np.zeros(len(people)), groups=np.array(people)))
    held_out = np.zeros(len(people), dtype=bool)
    held_out[test] = True
    return held_out


def _standardization(features: Array) -> tuple[Array, Array]:
    """Return mean and scale (F,) of features (M, F)."""
    scale = features.std(0)
    return features.mean(0), np.where(scale > 0, scale, 1.0)


def _answers_in_folds(
    model: RegressionModel,
    hyperparameters: Hyperparameters,
    data: RatedFeatures,
    rows: NDArray[np.intp],
    seed: int,
) -> Array:
    """Return the rating of each of `rows` as predicted by a fold that has not seen its person at all.

    Not those of the search: their features were chosen with everybody's ratings, so that of many worthless
    features some fit these by chance.
    """
    features, ratings = data.features[rows], data.ratings[rows]
    answers = np.empty_like(ratings)
    for train, test in GroupKFold(FOLDS).split(features, ratings, [data.people[n] for n in rows]):
        names = select_features(data.names, features[train], ratings[train], seed).chosen
        chosen = features[:, [data.names.index(name) for name in names]]
        mean, scale = _standardization(chosen[train])
        x = (chosen - mean) / scale
        members = model.fit(x[train], ratings[train], hyperparameters, seed)
        answers[test] = mean_answer(members, x[test])
    return np.clip(answers, LOWEST, HIGHEST)


def _candidate(
    best: Searched, trained: Array, answers: Array, rated: Array, people: Sequence[str]
) -> Candidate:
    return Candidate(
        hyperparameters=best.hyperparameters,
        trials=best.trials,
        cross_validated_mae=best.mae,
        cross_validated_r=pearson(best.answers, trained),
        held_out_mae=mean_absolute_error(answers, rated),
        held_out_r=correlation(answers, rated, people),
    )
