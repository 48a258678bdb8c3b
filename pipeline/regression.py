"""Features to ratings: models compared by cross-validation over people, the best one kept with its error.

The candidates are the paper's small network (one hidden layer of 6, ELU) as an ensemble over seeds, and
ridge regression. Folds never split a person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from torch import Tensor
from torch.nn import functional

Matrix = NDArray[np.float64]
Member = list[dict[str, object]]
Fit = Callable[[Matrix, Matrix, int], list[Member]]

_HIDDEN = 6
_ENSEMBLE = 8
_EPOCHS = 300
_BATCH = 20


@dataclass(frozen=True, slots=True)
class FittedRegressor:
    """What a fit leaves: standardization, layers of each ensemble member, and its held-out error.

    correlation: Pearson's R, mae and residual_std in points, all over cross-validated predictions.
    """

    model: str
    mean: Matrix
    scale: Matrix
    members: list[Member]
    correlation: float
    mae: float
    residual_std: float
    compared: Mapping[str, Mapping[str, float]]
    predictions: Matrix


def fit_regressor(
    features: Matrix, ratings: Matrix, people: Sequence[int], seed: int, folds: int = 5
) -> FittedRegressor:
    """Fit ratings (M,) on features (M, F); people (M,) says who each row shows.

    Raises ValueError where there are fewer people than folds.
    """
    if len(set(people)) < folds:
        raise ValueError(f"{len(set(people))} people cannot be split into {folds} folds")
    mean, scale = features.mean(0), features.std(0) + 1e-12
    x = (features - mean) / scale
    predictions = {name: _cross_validated(fit, x, ratings, people, seed, folds) for name, fit in FITS.items()}
    compared = {name: _errors(answer, ratings) for name, answer in predictions.items()}
    best = min(compared, key=lambda name: compared[name]["mae"])
    return FittedRegressor(
        model=best,
        mean=mean,
        scale=scale,
        members=FITS[best](x, ratings, seed),
        correlation=compared[best]["r"],
        mae=compared[best]["mae"],
        residual_std=compared[best]["residual_std"],
        compared=compared,
        predictions=predictions[best],
    )


def _cross_validated(
    fit: Fit, x: Matrix, ratings: Matrix, people: Sequence[int], seed: int, folds: int
) -> Matrix:
    answers = np.empty_like(ratings)
    for train, test in GroupKFold(folds).split(x, ratings, people):
        answers[test] = predict(fit(x[train], ratings[train], seed), x[test])
    return np.clip(answers, 1, 7)


def _errors(answers: Matrix, ratings: Matrix) -> dict[str, float]:
    residuals = answers - ratings
    return {
        "r": float(np.corrcoef(answers, ratings)[0, 1]),
        "mae": float(np.abs(residuals).mean()),
        "residual_std": float(residuals.std(ddof=1)),
    }


def predict(members: Sequence[Member], x: Matrix) -> Matrix:
    """Return the members' mean answer for standardized features (M, F), not clipped."""
    return np.asarray(np.mean([_member_answer(member, x) for member in members], axis=0))


def _member_answer(member: Member, x: Matrix) -> Matrix:
    for layer in member:
        x = x @ np.array(layer["weight"]).T + np.array(layer["bias"])
        if layer["activation"] == "elu":
            x = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    return x[:, 0]


def _fit_ridge(x: Matrix, ratings: Matrix, seed: int) -> list[Member]:
    model = Ridge(alpha=1.0).fit(x, ratings)
    return [[{"weight": [model.coef_.tolist()], "bias": [float(model.intercept_)], "activation": "linear"}]]


def _fit_networks(x: Matrix, ratings: Matrix, seed: int) -> list[Member]:
    """Fit the paper's network: inputs, 6 hidden, ELU, MSE, batches of 20, 300 epochs; all members at once."""
    random = torch.Generator().manual_seed(seed)
    inputs, targets = torch.from_numpy(x).float(), torch.from_numpy(ratings).float()
    bound_in, bound_out = x.shape[1] ** -0.5, _HIDDEN**-0.5
    weights = [
        (torch.rand(_ENSEMBLE, x.shape[1], _HIDDEN, generator=random) * 2 - 1) * bound_in,
        torch.zeros(_ENSEMBLE, 1, _HIDDEN),
        (torch.rand(_ENSEMBLE, _HIDDEN, 1, generator=random) * 2 - 1) * bound_out,
        torch.full((_ENSEMBLE, 1, 1), float(targets.mean())),
    ]
    optimiser = torch.optim.Adam([w.requires_grad_() for w in weights], lr=3e-3, weight_decay=1e-4)
    for _ in range(_EPOCHS):
        order = torch.stack([torch.randperm(len(inputs), generator=random) for _ in range(_ENSEMBLE)])
        for rows in torch.split(order, _BATCH, dim=1):
            hidden = functional.elu(torch.baddbmm(weights[1], inputs[rows], weights[0]))
            answer = torch.baddbmm(weights[3], hidden, weights[2])[..., 0]
            loss = (answer - targets[rows]).square().mean(1).sum()
            for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.grad = gradient
            optimiser.step()
    return [_member([w[n].detach() for w in weights]) for n in range(_ENSEMBLE)]


def _member(weights: list[Tensor]) -> Member:
    return [
        {"weight": weights[0].T.tolist(), "bias": weights[1][0].tolist(), "activation": "elu"},
        {"weight": weights[2].T.tolist(), "bias": weights[3][0].tolist(), "activation": "linear"},
    ]


FITS: Mapping[str, Fit] = {"network": _fit_networks, "ridge": _fit_ridge}
"""The models that are compared."""
