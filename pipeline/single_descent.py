"""The plain loop for one normalization alone: for pictures of how it works, not for scores."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from models.generator import Generator
from models.lpips import Lpips
from pipeline.descent import Found, Progress, Watch, descend, row_generators
from pipeline.normalization import average_and_goal
from pipeline.objective import Objective
from pipeline.plain_loop import objective_for
from pipeline.profile import Profile, ProfileError


class SingleDescent:
    """Normalizes one aligned face under one profile, without candidates and without the raw inversion.

    It takes the steps that the profile's first candidate takes.
    """

    def __init__(
        self,
        generator: Generator,
        metric: Lpips,
        x_raw: Tensor,
        mask: Tensor,
        profile: Profile,
        similarity_metric: Lpips | None = None,
    ) -> None:
        """x_raw: (3, H, W) in [-1, 1]; mask: (H, W) of 0 and 1.

        similarity_metric: what L_S is measured with, where that is not `metric`. Raises ProfileError for
        Newton's method, and where the generator lacks what the profile asks for.
        """
        if profile.method != "adam":
            raise ProfileError(
                f"method: the plain loop is 'adam', not {profile.method!r}; name another profile"
            )
        self._generator, self._profile = generator, profile
        (average,), (goal,) = average_and_goal(generator, metric, x_raw[None], mask[None], profile)
        self.objective: Objective = objective_for(
            replace(generator, w_avg=average),
            similarity_metric or metric, x_raw, mask, profile, profile.draw_resolution,
        )  # fmt: skip
        self._start = average + profile.start_share * (goal - average)

    def run(self, seed: int, progress: Progress | None = None, watch: Watch | None = None) -> Found:
        """Return the best iterate, one row; the same for a seed on the same device."""
        profile = replace(self._profile, candidates=1)
        pull = self._start.new_full((1,), profile.lambda_avg)
        randoms = row_generators(seed, 2)[:1]
        torch.randn(self._start.shape, generator=randoms[0])  # the noise that a first candidate leaves out
        return descend(self.objective, self._start[None], pull, profile, randoms, progress, watch)
