"""The `fast` profile's normalization: Newton's steps for the rows of several photographs at once.

The raw inversion is the normalization let go: it begins where that has come to, with the curvature that it
has learned, so that w_raw and w_norm lie in the same valley and differ by what the pull to the average did.
The further candidates start about the first one's cheap result. Where each comes to lie beside the first is
taken over to the first one's last result: the last steps, three times as dear, are shared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.captured import Captures
from models.generator import Generator
from models.lpips import Lpips
from models.precision import in_precision
from pipeline.descent import Found, Progress
from pipeline.latents import Latents
from pipeline.profile import Profile, ProfileError
from pipeline.proximal_newton import NewtonState, newton
from pipeline.shared_objective import SharedObjective


@dataclass(frozen=True, slots=True)
class StepEngine:
    """What every step draws and compares with, and what records it.

    generator, metric: in the precision of the steps, one of `models.precision.PRECISIONS`.
    """

    generator: Generator
    metric: Lpips
    captures: Captures
    precision: str = "float32"

    @staticmethod
    def plain(generator: Generator, metric: Lpips) -> StepEngine:
        """Return one that computes in float32 and records nothing."""
        return StepEngine(generator, metric, Captures(None))

    @staticmethod
    def on_device(generator: Generator, metric: Lpips, precision: str = "float32") -> StepEngine:
        """Return one for the generator's device: CUDA graphs on a GPU. Raises PrecisionError."""
        return StepEngine(
            *in_precision(generator, metric, precision), Captures.on(generator.device), precision
        )


class _Steps:
    """Counts the steps of all stages and tells of them."""

    def __init__(self, profile: Profile, progress: Progress | None) -> None:
        further = profile.candidate_steps if profile.candidates > 1 else 0
        self._all, self._done, self._progress = profile.steps + profile.full_steps + further, 0, progress

    def told(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._all)


def normalize_by_newton(
    engine: StepEngine,
    x_raw: Tensor,
    masks: Tensor,
    average: Tensor,
    start: Tensor,
    noise: Tensor,
    profile: Profile,
    progress: Progress | None,
) -> list[Latents]:
    """Descend on cheap pictures first, and with the whole network at last; return the latents by photograph.

    x_raw: (B, 3, H, W) in [-1, 1]; masks: (B, H, W); average, start: (B, w_dim); noise: (K - 1, w_dim), where
    the further candidates start beside the first. Raises ProfileError for a generator without a curvature.
    """
    generator, many = engine.generator, len(x_raw)
    if generator.curvature is None:
        raise ProfileError(f"method: {generator.name} has no curvature; use 'adam'")
    told = _Steps(profile, progress).told

    def objective(drawn_at: int) -> SharedObjective:
        # In a window that hardly depends on the face, no photograph feels who shares its batch.
        recurring, side = engine.captures.records or many > 1, profile.metric_resolution
        return SharedObjective(
            generator, engine.metric, x_raw, masks, side, drawn_at, recurring, average=average
        )

    def descended(
        goal: SharedObjective, begin: NewtonState, pull: Tensor, steps: int, *, ends: bool = False
    ) -> tuple[NewtonState, Found]:
        return newton(goal, begin, profile.lambda_sim, pull, steps, told, engine.captures, ends=ends)

    cheap, whole = objective(profile.draw_resolution), objective(generator.network.resolution)
    pulled = start.new_full((many,), profile.lambda_avg)
    begin = NewtonState.at(start, 2 * profile.lambda_sim * generator.curvature)
    near, _ = descended(cheap, begin, pulled, profile.steps)
    at, _ = descended(whole, near, pulled, profile.full_steps - profile.raw_steps)
    both = torch.cat([pulled, torch.zeros_like(pulled)])
    _, found = descended(whole, at.times(2), both, profile.raw_steps, ends=True)
    w_norm = found.w[None, :many]
    if len(noise):
        beside = NewtonState((near.w + noise[:, None]).flatten(0, 1), near.times(len(noise)).curvature)
        there, _ = descended(cheap, beside, pulled.repeat(len(noise)), profile.candidate_steps, ends=True)
        further = w_norm + there.w.view(len(noise), many, -1) - near.w
        further = torch.minimum(torch.maximum(further, generator.w_low), generator.w_high)
        w_norm = torch.cat([w_norm, further])
    similarity, averageness = found.similarity.view(2, many), found.averageness.view(2, many)
    return [
        Latents(w_norm[:, b], found.w[many + b], similarity[:, b], averageness[:, b]) for b in range(many)
    ]
