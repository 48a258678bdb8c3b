"""The six models that are compared, each with the space that is searched and the numbers that it leaves.

Boyaci et al. 2020, "Regression": linear, Huber, support vectors, ridge, lasso and a network with one hidden
layer of 6 (ELU, squared error, batches of 20, 300 epochs). Features come standardized.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from optuna.trial import BaseTrial
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import HuberRegressor, Lasso, LinearRegression, Ridge
from sklearn.svm import SVR

from models.regressor_member import DenseMember, GaussianMember, Layer, Member
from pipeline.small_network import fit_networks

Array = NDArray[np.float64]
Hyperparameters = Mapping[str, float | str]
Suggest = Callable[[BaseTrial], Hyperparameters]
Fit = Callable[[Array, Array, Hyperparameters, int], Sequence[Member]]


@dataclass(frozen=True, slots=True)
class RegressionModel:
    """A kind of model.

    suggest: the hyperparameters of a trial, none where there are none. fit: standardized features (M, F),
    ratings (M,), hyperparameters and a seed to the members of the regressor.
    """

    suggest: Suggest
    fit: Fit
    searched: bool = True


def _line(coefficients: Array, intercept: float) -> list[Member]:
    weight = np.asarray(coefficients, dtype=np.float64).reshape(1, -1)
    return [DenseMember((Layer(weight, np.array([float(intercept)]), "linear"),))]


def _fit_linear(x: Array, ratings: Array, settings: Hyperparameters, seed: int) -> list[Member]:
    model = LinearRegression().fit(x, ratings)
    return _line(model.coef_, model.intercept_)


def _fit_ridge(x: Array, ratings: Array, settings: Hyperparameters, seed: int) -> list[Member]:
    model = Ridge(alpha=settings["alpha"]).fit(x, ratings)
    return _line(model.coef_, model.intercept_)


def _fit_lasso(x: Array, ratings: Array, settings: Hyperparameters, seed: int) -> list[Member]:
    with warnings.catch_warnings():
        # A trial that has not settled is judged by its error like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = Lasso(alpha=settings["alpha"], max_iter=10_000).fit(x, ratings)
    return _line(model.coef_, model.intercept_)


def _fit_huber(x: Array, ratings: Array, settings: Hyperparameters, seed: int) -> list[Member]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = HuberRegressor(epsilon=settings["epsilon"], alpha=settings["alpha"], max_iter=2000)
        try:
            model.fit(x, ratings)
        except ValueError:  # its solver gave up, which must not end a search; a line without its robustness
            return _fit_ridge(x, ratings, settings, seed)
    return _line(model.coef_, model.intercept_)


def _fit_svr(x: Array, ratings: Array, settings: Hyperparameters, seed: int) -> list[Member]:
    shared = {"C": settings["C"], "epsilon": settings["epsilon"], "kernel": settings["kernel"]}
    if settings["kernel"] == "linear":  # its support vectors add up to one weight a feature
        model = SVR(**shared).fit(x, ratings)
        return _line(model.coef_, model.intercept_[0])
    gamma = float(settings["gamma"])
    model = SVR(**shared, gamma=gamma).fit(x, ratings)
    support, dual = np.asarray(model.support_vectors_), np.asarray(model.dual_coef_)[0]
    if not len(support):  # ratings within epsilon of each other; an empty list in JSON has no width
        return _line(np.zeros(x.shape[1]), model.intercept_[0])
    return [GaussianMember(support, dual, float(model.intercept_[0]), gamma)]


def _fit_mlp(x: Array, ratings: Array, settings: Hyperparameters, seed: int) -> list[Member]:
    return fit_networks(
        x, ratings, seed, rate=float(settings["learning_rate"]), decay=float(settings["weight_decay"])
    )


def _suggest_nothing(trial: BaseTrial) -> Hyperparameters:
    return {}


def _suggest_huber(trial: BaseTrial) -> Hyperparameters:
    return {
        "epsilon": trial.suggest_float("epsilon", 1.05, 3.0),
        "alpha": trial.suggest_float("alpha", 1e-5, 10.0, log=True),
    }


def _suggest_svr(trial: BaseTrial) -> Hyperparameters:
    kernel = str(trial.suggest_categorical("kernel", ["rbf", "linear"]))
    settings: dict[str, float | str] = {
        "kernel": kernel,
        "C": trial.suggest_float("C", 0.03, 100.0, log=True),
        "epsilon": trial.suggest_float("epsilon", 0.01, 1.0, log=True),
    }
    if kernel == "rbf":
        settings["gamma"] = trial.suggest_float("gamma", 1e-3, 1.0, log=True)
    return settings


def _suggest_ridge(trial: BaseTrial) -> Hyperparameters:
    return {"alpha": trial.suggest_float("alpha", 1e-3, 1e3, log=True)}


def _suggest_lasso(trial: BaseTrial) -> Hyperparameters:
    return {"alpha": trial.suggest_float("alpha", 1e-4, 1.0, log=True)}


def _suggest_mlp(trial: BaseTrial) -> Hyperparameters:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 5e-4, 3e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 0.3, log=True),
    }


MODELS: Mapping[str, RegressionModel] = MappingProxyType(
    {
        "linear": RegressionModel(_suggest_nothing, _fit_linear, searched=False),
        "huber": RegressionModel(_suggest_huber, _fit_huber),
        "svr": RegressionModel(_suggest_svr, _fit_svr),
        "ridge": RegressionModel(_suggest_ridge, _fit_ridge),
        "lasso": RegressionModel(_suggest_lasso, _fit_lasso),
        "mlp": RegressionModel(_suggest_mlp, _fit_mlp),
    }
)
"""The models, by the name that a card gives them."""
