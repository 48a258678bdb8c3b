"""Newton steps in w with a curvature that is known beforehand.

How LPIPS curves over w is much the same for every face, so its mean over generated ones
(`models.generator.Generator.curvature`) comes with the generator, and every step refines each row's copy
(BFGS, damped after Powell). A step minimises the quadratic model plus the mean absolute error, which is not
smooth, in the 512 components of w (FISTA; Beck and Teboulle, 2009): that costs nothing beside a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from models.captured import Captures
from pipeline.descent import Found
from pipeline.shared_objective import Comparison, SharedObjective, for_rows

_DAMPING = 0.2  # of the first step, as a share of the mean curvature
_LEAST_DAMPING = 1e-3
_FISTA_STEPS = 60
_POWELL = 0.2


@dataclass(frozen=True, slots=True)
class _Known:
    """What `objective` says of every row: L_S, L_A (N,), and the gradient of lambda_sim L_S (N, w_dim)."""

    objective: SharedObjective
    lambda_sim: float
    similarity: Tensor
    averageness: Tensor
    gradient: Tensor

    def times(self, count: int) -> _Known:
        terms = self.similarity.repeat(count), self.averageness.repeat(count)
        return _Known(self.objective, self.lambda_sim, *terms, self.gradient.repeat(count, 1))


@dataclass(frozen=True, slots=True)
class NewtonState:
    """Where every row is, and the model of how lambda_sim L_S curves there.

    w: (N, w_dim). curvature: (N, w_dim, w_dim), positive definite. known: what the objective that led here
    says of w, so that it need not be asked again when it leads on.
    """

    w: Tensor
    curvature: Tensor
    known: _Known | None = None

    @staticmethod
    def at(w: Tensor, curvature: Tensor) -> NewtonState:
        """Begin at w (N, w_dim) with one curvature (w_dim, w_dim) for all rows."""
        return NewtonState(w, curvature.expand(len(w), -1, -1))

    def times(self, count: int) -> NewtonState:
        """Return all rows, `count` times over."""
        known = self.known.times(count) if self.known else None
        return NewtonState(self.w.repeat(count, 1), self.curvature.repeat(count, 1, 1), known)


class _Course(NamedTuple):
    """Where every row is, what the objective is there, and how far its model is trusted: what a step changes.

    w, gradient: (N, w_dim), the gradient of lambda_sim L_S. curvature: (N, w_dim, w_dim). All else: (N,).
    """

    w: Tensor
    curvature: Tensor
    damping: Tensor
    growth: Tensor
    similarity: Tensor
    averageness: Tensor
    gradient: Tensor
    total: Tensor


def newton(
    objective: SharedObjective,
    begin: NewtonState,
    lambda_sim: float,
    lambda_avg: Tensor,
    steps: int,
    told: Callable[[], None],
    captures: Captures | None = None,
    *,
    ends: bool = False,
) -> tuple[NewtonState, Found]:
    """Minimise lambda_sim L_S + lambda_avg L_A for every row on its own.

    A step that makes it worse is undone. lambda_avg: (N,). told: called after each step. captures: records
    a step on a GPU. ends: nothing goes on from here, so the last step learns no gradient and no curvature.
    Returns the last state and what was found.
    """
    captures = captures or Captures(None)
    comparison, generator = objective.comparison, objective.comparison.generator
    w = begin.w.clamp(generator.w_low, generator.w_high)
    scale = begin.curvature.diagonal(dim1=1, dim2=2).mean(1)
    key = (comparison.key, lambda_sim)

    def evaluated(w: Tensor, lambda_avg: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        return _evaluated(comparison, w, lambda_sim, lambda_avg, inputs)

    def step(learns: bool, scale: Tensor, lambda_avg: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        at, inputs = _Course(*rest[: len(_Course._fields)]), rest[len(_Course._fields) :]
        return _step(comparison, lambda_sim, scale, lambda_avg, at, inputs, learns=learns)

    known = begin.known
    if known and known.objective is objective and known.lambda_sim == lambda_sim:
        total = lambda_sim * known.similarity + lambda_avg * known.averageness
        there: tuple[Tensor, ...] = (known.similarity, known.averageness, known.gradient, total)
    else:
        there = captures.call(("evaluated", key), evaluated, w, lambda_avg, *objective.inputs)
    trust = (torch.full_like(scale, _DAMPING), torch.full_like(scale, 2.0))
    course = _Course(w, begin.curvature, *trust, *there)
    for left in range(steps, 0, -1):
        learns = left > 1 or not ends
        given = (scale, lambda_avg, *course, *objective.inputs)
        course = _Course(*captures.call(("step", learns, key), partial(step, learns), *given))
        told()
    known = _Known(objective, lambda_sim, course.similarity, course.averageness, course.gradient)
    found = Found(course.w, course.similarity, course.averageness)
    return NewtonState(course.w, course.curvature, None if ends else known), found


def _step(
    comparison: Comparison,
    lambda_sim: float,
    scale: Tensor,
    lambda_avg: Tensor,
    at: _Course,
    inputs: tuple[Tensor, ...],
    *,
    learns: bool,
) -> _Course:
    """Return the course after one step; it changes nothing and reads nothing back, so it can be recorded.

    learns: otherwise gradient and curvature stay as they were.
    """
    generator = comparison.generator
    low, high, centre = generator.w_low, generator.w_high, for_rows(inputs[0], len(at.w))
    pull = lambda_avg / at.w.shape[1]
    damped = at.curvature + torch.diag_embed((at.damping * scale)[:, None].expand_as(at.w))
    tried = minimised_model(at.w, at.gradient, damped, pull, centre, low, high)
    there = _evaluated(comparison, tried, lambda_sim, lambda_avg, inputs, None if learns else at.gradient)
    gradient, total = there[2:]
    step = tried - at.w
    bent = torch.bmm(at.curvature, step[:, :, None])[:, :, 0]
    smooth = (at.gradient * step).sum(1) + 0.5 * (step * bent).sum(1)
    predicted = -(smooth + pull * ((tried - centre).abs() - (at.w - centre).abs()).sum(1))
    gain = (at.total - total) / predicted.clamp(min=1e-9)
    accepted = total < at.total
    # Nielsen's rule: the better the model foretold the step, the further it is trusted.
    eased = (at.damping * (1 - (2 * gain - 1) ** 3).clamp(1 / 3, 2)).clamp(min=_LEAST_DAMPING)
    moved = _Course(tried, at.curvature, eased, torch.full_like(at.growth, 2.0), *there)
    stayed = at._replace(damping=at.damping * at.growth, growth=at.growth * 2)
    chosen = (
        torch.where(accepted if a.dim() == 1 else accepted[:, None], a, b)
        for name, a, b in zip(_Course._fields, moved, stayed, strict=True)
        if name != "curvature"
    )
    w, *others = chosen
    change = gradient - at.gradient
    return _Course(w, _refined(at.curvature, step, bent, change) if learns else at.curvature, *others)


def _evaluated(
    comparison: Comparison,
    w: Tensor,
    lambda_sim: float,
    lambda_avg: Tensor,
    inputs: tuple[Tensor, ...],
    instead: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return L_S, L_A, the gradient of lambda_sim L_S or what is given instead, and the objective."""
    w = w.detach().requires_grad_(instead is None)
    similarity, averageness = comparison.terms(w, *inputs)
    gradient = torch.autograd.grad(lambda_sim * similarity.sum(), w)[0] if instead is None else instead
    similarity, averageness = similarity.detach(), averageness.detach()
    return similarity, averageness, gradient, lambda_sim * similarity + lambda_avg * averageness


def minimised_model(
    w: Tensor, gradient: Tensor, curvature: Tensor, pull: Tensor, centre: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Return the minimum of g.(v - w) + (v - w).B(v - w) / 2 + pull |v - centre| over v in the box.

    w, gradient: (N, w_dim). curvature: (N, w_dim, w_dim). pull: (N,). centre: (N or 1, w_dim). low, high:
    (w_dim,).
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


def _refined(curvature: Tensor, step: Tensor, bent: Tensor, change: Tensor) -> Tensor:
    """Return each row's curvature, taught what the gradient's change over its step says.

    BFGS with Powell's damping. A row that did not move keeps its own.
    """
    expected, seen = (step * bent).sum(1), (step * change).sum(1)
    mixed = (1 - _POWELL) * expected / (expected - seen).clamp(min=1e-12)
    share = torch.where(seen >= _POWELL * expected, torch.ones_like(seen), mixed)[:, None]
    learned = share * change + (1 - share) * bent
    moved = expected > 1e-12
    gained = torch.where(moved, 1 / (step * learned).sum(1), torch.zeros_like(seen))[:, None]
    lost = torch.where(moved, -1 / expected, torch.zeros_like(seen))[:, None]
    refined = torch.baddbmm(curvature, (gained * learned)[:, :, None], learned[:, None, :])
    return torch.baddbmm(refined, (lost * bent)[:, :, None], bent[:, None, :])
