"""The paper's plain loop, as one would write it down, for a bench to time some of its steps.

Adam on w; in every step the whole picture is drawn at full resolution, compared by LPIPS, and the
photograph's own features are computed anew (Boyaci et al. 2020, "Methods"). Which generator draws is the
caller's choice: `bench.plain_generator`, the textbook's, or facenorm's own, whose speed is one of
facenorm's levers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.lpips import Lpips
from pipeline.objective import resized

PLAIN_STEPS = 500
"""Steps of each of the two optimisations (paper, "Methods")."""

Draw = Callable[[Tensor], Tensor]
"""w (N, w_dim) -> pictures (N, 3, side, side) with values about [-1, 1]."""


class PlainLoop:
    """One optimisation of one picture."""

    def __init__(self, draw: Draw, metric: Lpips, picture: Tensor, w_avg: Tensor, metric_side: int) -> None:
        """picture: (1, 3, H, W) in [-1, 1]; w_avg: (w_dim,). Pictures are compared at `metric_side` px."""
        self._draw, self._metric, self._metric_side = draw, metric, metric_side
        self._picture, self._w_avg = resized(picture, metric_side), w_avg
        self.w = w_avg[None].clone().requires_grad_()
        self._optimiser = torch.optim.Adam([self.w], lr=0.03)

    def step(self) -> None:
        """Move w one step towards lower 10 LPIPS + averageness."""
        drawn = resized(self._draw(self.w), self._metric_side)
        loss = 10 * self._metric(drawn, self._picture).sum() + (self.w - self._w_avg).abs().mean()
        (self.w.grad,) = torch.autograd.grad(loss, self.w)
        self._optimiser.step()
