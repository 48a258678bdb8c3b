"""The paper's plain loop: Adam on w, components outside the box redrawn, the best iterate kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.objective import Objective
from pipeline.profile import Profile

Progress = Callable[[int, int], None]
"""Called after each step with (steps done, steps in all)."""

Watch = Callable[[int, Tensor], None]
"""Called with (steps done, the iterates (N, w_dim)): the start first, then what each step came to."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best iterate of every row: w (N, w_dim), its L_S and L_A (N,)."""

    w: Tensor
    similarity: Tensor
    averageness: Tensor


def descend(
    objective: Objective,
    start: Tensor,
    lambda_avg: Tensor,
    profile: Profile,
    randoms: Sequence[torch.Generator],
    progress: Progress | None,
    watch: Watch | None = None,
) -> Found:
    """Run Adam on every row of `start` at once and keep each row's best iterate."""
    w = start.clone().requires_grad_()
    best = Found(start.clone(), *(start.new_full((len(start),), torch.inf) for _ in range(2)))
    best_total = best.similarity.clone()
    optimiser = torch.optim.Adam([w], lr=profile.learning_rate, betas=(0.9, 0.99))
    low, high = objective.generator.w_low, objective.generator.w_high
    if profile.box == "paper":
        low, high = -torch.ones_like(low), torch.ones_like(high)
    for step in range(profile.steps + 1):
        if watch is not None:
            watch(step, w.detach().clone())
        similarity, averageness = objective.terms(w)
        total = profile.lambda_sim * similarity + lambda_avg * averageness
        with torch.no_grad():
            better = total < best_total
            best_total = torch.where(better, total, best_total)
            best.w[better] = w[better]
            best.similarity[better] = similarity[better]
            best.averageness[better] = averageness[better]
        if step == profile.steps:
            break
        (gradient,) = torch.autograd.grad(total.sum(), w)
        w.grad = gradient
        for group in optimiser.param_groups:
            group["lr"] = profile.learning_rate * _rate(step, profile)
        optimiser.step()
        with torch.no_grad():
            _redraw_outside(w, low, high, randoms)
        if progress is not None:
            progress(step + 1, profile.steps)
    return best


def _rate(step: int, profile: Profile) -> float:
    """Return the share of the learning rate at `step`: linear rise, plateau, cosine fall."""
    position = (step + 1) / profile.steps
    rise = min(1.0, position / profile.warm_up) if profile.warm_up else 1.0
    if not profile.ramp_down:
        return rise
    fall = max(0.0, (position - (1 - profile.ramp_down)) / profile.ramp_down)
    return rise * (0.5 + 0.5 * float(torch.cos(torch.tensor(fall * torch.pi * 0.95))))


def _redraw_outside(w: Tensor, low: Tensor, high: Tensor, randoms: Sequence[torch.Generator]) -> None:
    """Replace components outside [low, high] by uniform draws inside (paper, "Methods")."""
    outside = (w < low) | (w > high)
    for row in outside.any(1).nonzero()[:, 0].tolist():
        drawn = torch.rand(w.shape[1], generator=randoms[row]).to(w.device) * (high - low) + low
        w[row, outside[row]] = drawn[outside[row]]


def row_generators(seed: int, rows: int) -> list[torch.Generator]:
    """Return one stream of numbers for each row, so that no row depends on how many others there are."""
    seeds = [int(np.random.SeedSequence([seed, n]).generate_state(1, np.uint64)[0]) for n in range(rows)]
    return [torch.Generator().manual_seed(s % 2**63) for s in [*seeds[1:], seeds[0]]]
