"""Hyperparameters by TPE, judged by cross-validation whose folds never split a person.

Bergstra et al. 2011 (TPE), as optuna builds it; the paper's hyperopt does the same search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import TPESampler
from sklearn.model_selection import GroupKFold

from models.regressor import HIGHEST, LOWEST
from models.regressor_member import mean_answer
from pipeline.regression_models import Fit, Hyperparameters, RegressionModel

Array = NDArray[np.float64]

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Searched:
    """The best hyperparameters of one model.

    answers: (M,), each row's rating as predicted by the folds that did not see its person. mae: their mean
    absolute error in points. trials: how many settings were tried.
    """

    hyperparameters: Hyperparameters
    answers: Array
    mae: float
    trials: int


def search(
    model: RegressionModel,
    x: Array,
    ratings: Array,
    people: Sequence[str],
    seed: int,
    trials: int,
    tried: Callable[[], None] = lambda: None,
) -> Searched:
    """Try `trials` settings (one where the model has none) and return the one with the least MAE.

    x: standardized features (M, F); ratings: (M,); people: (M,), who each row shows. tried: called after each
    trial. Raises ValueError where there are fewer people than folds.
    """
    best: list[Searched] = []

    def objective(trial: optuna.Trial) -> float:
        hyperparameters = model.suggest(trial)
        answers = cross_validated(model.fit, x, ratings, people, hyperparameters, seed)
        found = Searched(hyperparameters, answers, float(np.abs(answers - ratings).mean()), trial.number + 1)
        if not best or found.mae < best[0].mae:
            best[:] = [found]
        tried()
        return found.mae

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    count = trials if model.searched else 1
    optuna.create_study(sampler=TPESampler(seed=seed)).optimize(objective, n_trials=count)
    return Searched(best[0].hyperparameters, best[0].answers, best[0].mae, count)


def cross_validated(
    fit: Fit,
    x: Array,
    ratings: Array,
    people: Sequence[str],
    hyperparameters: Hyperparameters,
    seed: int,
) -> Array:
    """Return (M,) predictions, each in [1, 7] and made without any row of the same person.

    Raises ValueError where there are fewer people than folds.
    """
    if len(set(people)) < FOLDS:
        raise ValueError(f"{len(set(people))} people cannot be split into {FOLDS} folds")
    answers = np.empty_like(ratings)
    for train, test in GroupKFold(FOLDS).split(x, ratings, people):
        members = fit(x[train], ratings[train], hyperparameters, seed)
        answers[test] = mean_answer(members, x[test])
    return np.clip(answers, LOWEST, HIGHEST)
