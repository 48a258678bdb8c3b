"""Each averageness loss against its formula, and that each pulls to the average."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.averageness import AVERAGENESS

W = torch.randn(3, 20, generator=torch.Generator().manual_seed(1)).double()
W_AVG = 0.2 * torch.randn(20, generator=torch.Generator().manual_seed(2)).double()

FORMULAS = {
    "mean_absolute": lambda d: math.sqrt(d * d),
    "mean_squared": lambda d: d * d,
    "mean_exponential": lambda d: max(math.e**d, math.e**-d) - 1,
}


@pytest.mark.parametrize("name", AVERAGENESS)
def test_loss_is_the_mean_over_components(name: str) -> None:
    found = AVERAGENESS[name](W, W_AVG)
    for row in range(3):
        terms = [FORMULAS[name](float(W[row, n] - W_AVG[n])) for n in range(20)]
        assert found[row].item() == pytest.approx(sum(terms) / 20, rel=1e-12)


@pytest.mark.parametrize("name", AVERAGENESS)
def test_average_is_the_minimum(name: str) -> None:
    loss = AVERAGENESS[name]
    assert loss(W_AVG[None], W_AVG).item() == 0
    w = W.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(w, W_AVG).sum(), w)
    assert ((gradient * (W - W_AVG)) > 0).all()


def test_there_are_three() -> None:
    assert AVERAGENESS.keys() == FORMULAS.keys()
