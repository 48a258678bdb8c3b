"""An optimiser in the manner of NVIDIA's StyleGAN2 projector: what a GPU's figures stand beside.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, appendix D: w begins at
the average latent; Adam at a rate of 0.1, which rises over the first 5 % of the steps and falls by a cosine
over the last 25 %; noise of 0.05 sigma t^2 is added to w, t falling from one to zero over the first 75 %;
LPIPS on pictures reduced to 256 px; the whole picture drawn in float32, one at a time.

What differs: this generator has no noise maps that could be optimised (they are part of its weights), so
there is no noise regularisation either; LPIPS has the trunk that facenorm's has; and 500 steps, not 1,000.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.plain_loop import Draw
from models.lpips import Lpips
from pipeline.objective import resized

PROJECTOR_STEPS = 500
PROJECTOR_SIDE = 256
"""Side, in pixels, at which it compares pictures."""

_RATE, _RISE, _FALL = 0.1, 0.05, 0.25
_NOISE, _NOISE_SHARE = 0.05, 0.75


def learning_rate(position: float) -> float:
    """Return Adam's rate at `position`, the share of the steps that are done."""
    falling = min(1.0, (1 - position) / _FALL)
    return _RATE * min(1.0, position / _RISE) * (0.5 - 0.5 * math.cos(math.pi * falling))


def noise_strength(position: float) -> float:
    """Return the standard deviation of the noise on w at `position`, in units of sigma."""
    return float(_NOISE * max(0.0, 1 - position / _NOISE_SHARE) ** 2)


class Projector:
    """One projection of one picture. `w` is its answer so far, (1, w_dim)."""

    def __init__(
        self,
        draw: Draw,
        metric: Lpips,
        picture: Tensor,
        w_avg: Tensor,
        w_std: Tensor,
        steps: int = PROJECTOR_STEPS,
        seed: int = 0,
    ) -> None:
        """picture: (1, 3, H, W) in [-1, 1]; w_avg, w_std: (w_dim,), mean and standard deviation of w."""
        self._draw, self._metric, self._steps = draw, metric, steps
        with torch.no_grad():
            self._target = metric.features(resized(picture, PROJECTOR_SIDE))
        self._sigma = float(w_std.square().sum().sqrt())
        self._random = torch.Generator(w_avg.device).manual_seed(seed)
        self._done = 0
        self.w = w_avg[None].clone().requires_grad_()
        self._optimiser = torch.optim.Adam([self.w], lr=_RATE)

    def step(self) -> None:
        """Do the next step; after the last one the rate is zero and w stays."""
        position = min(1.0, self._done / self._steps)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(position)
        noise = torch.randn(self.w.shape, generator=self._random, device=self.w.device)
        shaken = self.w + noise_strength(position) * self._sigma * noise
        drawn = resized(self._draw(shaken), PROJECTOR_SIDE)
        distance = self._metric.distance(self._metric.features(drawn), self._target).sum()
        (self.w.grad,) = torch.autograd.grad(distance, self.w)
        self._optimiser.step()
        self._done += 1
