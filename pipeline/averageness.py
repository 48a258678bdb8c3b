"""How far a latent is from the average one: the paper's three losses L_A (Boyaci et al. 2020, "Methods").

With d = w - w_avg, and mean() over the components of w:

- mean_absolute: mean(|d|); the paper's choice.
- mean_squared: mean(d^2).
- mean_exponential: mean(exp(|d|) - 1). "Mean exponential error" is the name; this formula for it is our
  reading. It is zero at the average, nearly the absolute error close to it and steeper far away. The 1 that
  is taken off moves no minimum.

None has a unit; all are >= 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

Averageness = Callable[[Tensor, Tensor], Tensor]
"""From latents (N, w_dim) and w_avg (w_dim,) to the loss of each (N,)."""


def mean_absolute(w: Tensor, w_avg: Tensor) -> Tensor:
    """Return mean(|w - w_avg|), (N,)."""
    return (w - w_avg).abs().mean(1)


def mean_squared(w: Tensor, w_avg: Tensor) -> Tensor:
    """Return mean((w - w_avg)^2), (N,)."""
    return (w - w_avg).square().mean(1)


def mean_exponential(w: Tensor, w_avg: Tensor) -> Tensor:
    """Return mean(exp(|w - w_avg|) - 1), (N,)."""
    return torch.expm1((w - w_avg).abs()).mean(1)


AVERAGENESS: Mapping[str, Averageness] = MappingProxyType(
    {
        "mean_absolute": mean_absolute,
        "mean_squared": mean_squared,
        "mean_exponential": mean_exponential,
    }
)
"""The losses by the name that a profile gives them."""
