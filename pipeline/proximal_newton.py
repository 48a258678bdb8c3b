"""Newton steps in w with a curvature that is known beforehand.

How LPIPS curves over w is much the same for every face, so its mean over generated ones
(`models.generator.Generator.curvature`) comes with the generator, and every step refines each row's copy
(BFGS, damped after Powell). A step minimises the quadratic model plus the mean absolute error, which is not
smooth, in the 512 components of w (FISTA; Beck and Teboulle, 2009): that costs nothing beside a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.descent import Found
from pipeline.objective import Objective

_DAMPING = 0.2  # of the first step, as a share of the mean curvature
_LEAST_DAMPING = 1e-3
_FISTA_STEPS = 60
_POWELL = 0.2


@dataclass(frozen=True, slots=True)
class NewtonState:
    """Where every row is, and the model of how lambda_sim L_S curves there.

    w: (N, w_dim). curvature: (N, w_dim, w_dim), positive definite.
    """

    w: Tensor
    curvature: Tensor

    @staticmethod
    def at(w: Tensor, curvature: Tensor) -> NewtonState:
        """Begin at w (N, w_dim) with one curvature (w_dim, w_dim) for all rows."""
        return NewtonState(w, curvature.expand(len(w), -1, -1).clone())

    def twice(self) -> NewtonState:
        """Return every row, and every row again."""
        return NewtonState(self.w.repeat(2, 1), self.curvature.repeat(2, 1, 1))


@dataclass(frozen=True, slots=True)
class _Point:
    similarity: Tensor
    averageness: Tensor
    gradient: Tensor
    total: Tensor

    def where(self, accepted: Tensor, other: _Point) -> _Point:
        """Return this point for accepted rows and the other one's for the rest."""
        return _Point(
            torch.where(accepted, self.similarity, other.similarity),
            torch.where(accepted, self.averageness, other.averageness),
            torch.where(accepted[:, None], self.gradient, other.gradient),
            torch.where(accepted, self.total, other.total),
        )


def newton(
    objective: Objective,
    begin: NewtonState,
    lambda_sim: float,
    lambda_avg: Tensor,
    steps: int,
    told: Callable[[], None],
) -> tuple[NewtonState, Found]:
    """Minimise lambda_sim L_S + lambda_avg L_A for every row on its own.

    A step that makes it worse is undone. lambda_avg: (N,). told: called after each step. Returns the last
    state and what was found.
    """
    generator = objective.generator
    low, high, centre = generator.w_low, generator.w_high, generator.w_avg
    w, curvature = begin.w.clamp(low, high), begin.curvature.clone()
    scale = curvature.diagonal(dim1=1, dim2=2).mean(1)
    damping = torch.full_like(scale, _DAMPING)
    growth = torch.full_like(scale, 2.0)
    pull = lambda_avg / w.shape[1]
    at = _evaluated(objective, w, lambda_sim, lambda_avg)
    for _ in range(steps):
        damped = curvature + torch.diag_embed((damping * scale)[:, None].expand_as(w))
        tried = minimised_model(w, at.gradient, damped, pull, centre, low, high)
        there = _evaluated(objective, tried, lambda_sim, lambda_avg)
        step = tried - w
        bent = torch.bmm(curvature, step[:, :, None])[:, :, 0]
        smooth = (at.gradient * step).sum(1) + 0.5 * (step * bent).sum(1)
        predicted = -(smooth + pull * ((tried - centre).abs() - (w - centre).abs()).sum(1))
        gain = (at.total - there.total) / predicted.clamp(min=1e-9)
        _refine(curvature, step, bent, there.gradient - at.gradient)
        accepted = there.total < at.total
        # Nielsen's rule: the better the model foretold the step, the further it is trusted.
        eased = (damping * (1 - (2 * gain - 1) ** 3).clamp(1 / 3, 2)).clamp(min=_LEAST_DAMPING)
        damping = torch.where(accepted, eased, damping * growth)
        growth = torch.where(accepted, torch.full_like(growth, 2.0), growth * 2)
        w, at = torch.where(accepted[:, None], tried, w), there.where(accepted, at)
        told()
    return NewtonState(w, curvature), Found(w, at.similarity, at.averageness)


def _evaluated(objective: Objective, w: Tensor, lambda_sim: float, lambda_avg: Tensor) -> _Point:
    w = w.detach().requires_grad_()
    similarity, averageness = objective.terms(w)
    (gradient,) = torch.autograd.grad(lambda_sim * similarity.sum(), w)
    similarity, averageness = similarity.detach(), averageness.detach()
    return _Point(similarity, averageness, gradient, lambda_sim * similarity + lambda_avg * averageness)


def minimised_model(
    w: Tensor, gradient: Tensor, curvature: Tensor, pull: Tensor, centre: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Return the minimum of g.(v - w) + (v - w).B(v - w) / 2 + pull |v - centre| over v in the box.

    w, gradient: (N, w_dim). curvature: (N, w_dim, w_dim). pull: (N,). centre, low, high: (w_dim,).
    """
    lipschitz = _greatest_eigenvalue(curvature)[:, None]
    offset = gradient - torch.bmm(curvature, w[:, :, None])[:, :, 0]
    v, ahead, momentum = w, w, 1.0
    for _ in range(_FISTA_STEPS):
        slope = offset + torch.bmm(curvature, ahead[:, :, None])[:, :, 0]
        moved = ahead - slope / lipschitz - centre
        shrunk = centre + moved.sign() * (moved.abs() - pull[:, None] / lipschitz).clamp(min=0)
        following = shrunk.clamp(low, high)
        later = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = following + (momentum - 1) / later * (following - v)
        v, momentum = following, later
    return v


def _greatest_eigenvalue(curvature: Tensor) -> Tensor:
    """Return the greatest eigenvalue (N,) of each matrix, a little too large, by the power method."""
    vector = curvature.new_ones(len(curvature), curvature.shape[1], 1)
    for _ in range(20):
        vector = torch.bmm(curvature, vector)
        vector = vector / vector.norm(dim=1, keepdim=True)
    greatest: Tensor = torch.bmm(curvature, vector).norm(dim=1)[:, 0]
    return 1.1 * greatest


def _refine(curvature: Tensor, step: Tensor, bent: Tensor, change: Tensor) -> None:
    """Teach each row's curvature what the gradient's change over its step says (BFGS, Powell's damping)."""
    expected, seen = (step * bent).sum(1), (step * change).sum(1)
    mixed = (1 - _POWELL) * expected / (expected - seen).clamp(min=1e-12)
    share = torch.where(seen >= _POWELL * expected, torch.ones_like(seen), mixed)[:, None]
    learned = share * change + (1 - share) * bent
    for row in (expected > 1e-12).nonzero()[:, 0].tolist():
        curvature[row].addr_(learned[row], learned[row] / (step[row] @ learned[row]))
        curvature[row].addr_(bent[row], bent[row], alpha=-1 / float(expected[row]))
