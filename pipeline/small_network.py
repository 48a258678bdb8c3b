"""The paper's network: the features, one hidden layer of 6 (ELU), one rating; several starts, averaged.

Boyaci et al. 2020, "Regression": squared error, batches of 20, 300 epochs. The paper trains one; here eight
starts are trained side by side and their answers averaged, which damps the luck of a single one.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.regressor_member import DenseMember, Layer, Member

Array = NDArray[np.float64]

HIDDEN = 6
STARTS = 8
EPOCHS = 300
BATCH = 20


def fit_networks(x: Array, ratings: Array, seed: int, rate: float, decay: float) -> list[Member]:
    """Fit `STARTS` networks to standardized features (M, F) and ratings (M,).

    rate: Adam's learning rate. decay: Adam's L2 penalty. The same seed gives the same networks.
    """
    random = torch.Generator().manual_seed(seed)
    inputs, targets = torch.from_numpy(x).float(), torch.from_numpy(ratings).float()
    weights = _start(x.shape[1], float(targets.mean()), random)
    # fused: on tensors this small, a step of the plain Adam takes eight times as long.
    optimiser = torch.optim.Adam(
        [w.requires_grad_() for w in weights], lr=rate, weight_decay=decay, fused=True
    )
    # Batches of equal size: a remainder of one row would count as much as a whole batch.
    batches = max(1, round(len(x) / BATCH))
    for _ in range(EPOCHS):
        order = torch.stack([torch.randperm(len(x), generator=random) for _ in range(STARTS)])
        for rows in torch.tensor_split(order, batches, dim=1):
            loss = (_forward(weights, inputs[rows]) - targets[rows]).square().mean(1).sum()
            for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.grad = gradient
            optimiser.step()
    return [_member([w[n].detach() for w in weights]) for n in range(STARTS)]


def _start(inputs: int, middle: float, random: torch.Generator) -> list[Tensor]:
    """Weights and biases of every start; the output begins at the mean rating."""
    return [
        (torch.rand(STARTS, inputs, HIDDEN, generator=random) * 2 - 1) * inputs**-0.5,
        torch.zeros(STARTS, 1, HIDDEN),
        (torch.rand(STARTS, HIDDEN, 1, generator=random) * 2 - 1) * HIDDEN**-0.5,
        torch.full((STARTS, 1, 1), middle),
    ]


def _forward(weights: list[Tensor], x: Tensor) -> Tensor:
    """x: (starts, rows, F); returns (starts, rows)."""
    hidden = functional.elu(torch.baddbmm(weights[1], x, weights[0]))
    return torch.baddbmm(weights[3], hidden, weights[2])[..., 0]


def _member(weights: list[Tensor]) -> DenseMember:
    w = [np.asarray(t.double().numpy()) for t in weights]
    return DenseMember((Layer(w[0].T, w[1][0], "elu"), Layer(w[2].T, w[3][0], "linear")))
