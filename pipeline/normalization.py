"""Normalization: the nearest face that is also near the average one.

minimise lambda_sim * L_S(x_raw, G(w)) + lambda_avg * L_A(w, w_avg) over w, with L_S the masked LPIPS and
L_A the mean absolute error (Boyaci et al. 2020, "Methods"). Every row of a batch is an optimisation of
its own: the K normalizations and the raw inversion (lambda_avg = 0) run side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.generator import Generator
from models.latent_encoder import ENCODER_SIDE
from models.lpips import Lpips
from models.window import Window

_GRID = 16  # pixels between the positions of AlexNet's last layers
_MARGIN = 32  # the margin around the masked face is this share of the side

Progress = Callable[[int, int], None]
"""Called after each step with (steps done, steps in all)."""


class ProfileError(ValueError):
    """A profile's settings are wrong; the message names the key."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The settings of an optimisation; they live in the generator's card, chosen by `bench.choose_profile`.

    steps: iterations. learning_rate: Adam's, in units of w. warm_up, ramp_down: shares of the steps over
    which the rate rises and falls (cosine). metric_resolution: side, in pixels, at which pictures are
    compared. draw_resolution: side at which they are drawn; 0 takes the smallest that serves the metric.
    candidates: K independent starts. start: where they begin, "average" (w_avg) or "encoder" (the
    latent encoder's answer). start_spread: their standard deviation around it, in standard deviations of
    w. box: components outside are redrawn inside: "statistics" takes the
    generator's own range, "paper" takes [-1, 1].
    """

    steps: int
    learning_rate: float
    metric_resolution: int
    lambda_sim: float
    lambda_avg: float
    draw_resolution: int = 0
    candidates: int = 5
    start: str = "average"
    start_spread: float = 0.0
    warm_up: float = 0.0
    ramp_down: float = 0.0
    box: str = "statistics"

    def __post_init__(self) -> None:
        """Raise ProfileError for a value that cannot work."""
        for key in ("steps", "metric_resolution", "draw_resolution", "candidates"):
            if type(getattr(self, key)) is not int:
                raise ProfileError(f"{key} must be a whole number, not {getattr(self, key)!r}")
        for key in ("learning_rate", "lambda_sim", "lambda_avg", "start_spread", "warm_up", "ramp_down"):
            value = getattr(self, key)
            if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
                raise ProfileError(f"{key} must be a number of at least zero, not {value!r}")
        for key in ("steps", "learning_rate", "metric_resolution", "lambda_sim", "candidates"):
            if not getattr(self, key) > 0:
                raise ProfileError(f"{key} must be above zero")
        for key in ("warm_up", "ramp_down"):
            if getattr(self, key) > 1:
                raise ProfileError(f"{key} is a share of the steps and cannot be above 1")
        if self.start not in ("average", "encoder"):
            raise ProfileError(f"start must be 'average' or 'encoder', not {self.start!r}")
        if self.box not in ("statistics", "paper"):
            raise ProfileError(f"box must be 'statistics' or 'paper', not {self.box!r}")

    @staticmethod
    def from_card(values: Mapping[str, object]) -> Profile:
        """Build a profile from a card's mapping; raises ProfileError naming an unknown or missing key."""
        known = {f.name for f in fields(Profile)}
        unknown = values.keys() - known
        if unknown:
            raise ProfileError(f"unknown key {sorted(unknown)[0]}")
        try:
            return Profile(**values)  # type: ignore[arg-type]
        except TypeError as error:
            raise ProfileError(str(error)) from error

    def as_dict(self) -> dict[str, int | float | str]:
        """Return the settings by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Latents:
    """What an optimisation found: w_norm (K, w_dim), w_raw (w_dim,), and the terms at the kept iterates."""

    w_norm: Tensor
    w_raw: Tensor
    similarity: Tensor
    averageness: Tensor


def normalize(
    generator: Generator,
    metric: Lpips,
    x_raw: Tensor,
    mask: Tensor,
    profile: Profile,
    seed: int,
    progress: Progress | None = None,
) -> Latents:
    """Find K normalized latents and the raw inversion's latent for one aligned face.

    x_raw: (3, H, W) in [-1, 1]; mask: (H, W) of 0 and 1; both on the generator's device, any side.
    Repeatable for a seed on the same device.
    """
    objective = Objective(generator, metric, x_raw, mask, profile.metric_resolution, profile.draw_resolution)
    rows = profile.candidates + 1
    randoms = _row_generators(seed, rows)
    noise = torch.stack([torch.randn(generator.network.w_dim, generator=r) for r in randoms])
    noise = noise.to(generator.device)
    noise[0] = 0  # the first candidate and the raw inversion start without noise
    noise[-1] = 0
    centre = generator.w_avg if profile.start == "average" else encoded(generator, metric, x_raw, mask)
    start = centre + profile.start_spread * generator.w_std * noise
    lambda_avg = torch.full((rows,), profile.lambda_avg, device=generator.device)
    lambda_avg[-1] = 0
    found = _descend(objective, start, lambda_avg, profile, randoms, progress)
    return Latents(found.w[:-1], found.w[-1], found.similarity, found.averageness)


@torch.no_grad()
def encoded(generator: Generator, metric: Lpips, x_raw: Tensor, mask: Tensor) -> Tensor:
    """Return the latent (w_dim,) with which the encoder answers a face; raises ProfileError without one."""
    if generator.encoder is None:
        raise ProfileError(f"start: {generator.name} has no encoder; use 'average'")
    small = functional.interpolate(mask[None, None], (ENCODER_SIDE,) * 2, mode="area")
    picture = resized(x_raw[None], ENCODER_SIDE) * small
    w: Tensor = generator.encoder(picture, metric.features(picture))[0]
    return torch.minimum(torch.maximum(w, generator.w_low), generator.w_high)


class Objective:
    """Similarity and averageness of latents to one face, the face's features computed once."""

    def __init__(
        self,
        generator: Generator,
        metric: Lpips,
        x_raw: Tensor,
        mask: Tensor,
        metric_resolution: int,
        draw_resolution: int = 0,
    ) -> None:
        self.generator, self.metric, self.side = generator, metric, metric_resolution
        least = max(metric_resolution, draw_resolution)
        resolutions = generator.network.resolutions
        self._drawn_side = min((r for r in resolutions if r >= least), default=resolutions[-1])
        whole = functional.interpolate(mask[None, None], (self.side,) * 2, mode="area")
        self.window = face_window(whole[0, 0])
        scale, rest = divmod(self._drawn_side, self.side)
        if rest or not scale:  # no whole number of drawn pixels makes one of the metric's
            self.window = Window.whole(self.side)
        self._drawn_window = Window.whole(self._drawn_side) if rest else self.window.scaled(scale)
        self.mask = whole[..., self.window.rows, self.window.columns]
        masked = resized(x_raw[None], self.side)[..., self.window.rows, self.window.columns] * self.mask
        with torch.no_grad():
            self._target = metric.features(masked)
        self._weights = metric.tap_weights(self.mask, self._target)

    def terms(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return L_S and L_A, each (N,), for latents (N, w_dim)."""
        drawn = self.generator.network.synthesis(w, self._drawn_side, self._drawn_window)
        similarity = self.metric.distance(
            self.metric.features(resized_to(drawn, (self.mask.shape[-2], self.mask.shape[-1])) * self.mask),
            self._target,
            self._weights,
        )
        return similarity, (w - self.generator.w_avg).abs().mean(1)


def face_window(mask: Tensor) -> Window:
    """Return the part of the picture that holds the mask (side, side), with a margin.

    Its edges lie on the metric's coarsest grid, so that features fall where those of the whole picture do.
    """
    side = mask.shape[-1]
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    margin = side // _MARGIN
    edges = [
        (int(low) - margin) // _GRID * _GRID if n == 0 else -(-(int(low) + 1 + margin) // _GRID) * _GRID
        for found in (rows, columns)
        for n, low in enumerate((found[0], found[-1]))
    ]
    return Window(side, *(min(side, max(0, edge)) for edge in edges))


def resized(pictures: Tensor, side: int) -> Tensor:
    """Return (N, C, side, side): averaged over area when smaller, bilinear when larger."""
    return resized_to(pictures, (side, side))


def resized_to(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (N, C, *size): averaged over area when smaller, bilinear when larger."""
    if pictures.shape[-2:] == size:
        return pictures
    if pictures.shape[-1] > size[1]:
        return functional.interpolate(pictures, size, mode="area")
    return functional.interpolate(pictures, size, mode="bilinear", align_corners=False)


@dataclass(frozen=True, slots=True)
class _Found:
    w: Tensor
    similarity: Tensor
    averageness: Tensor


def _descend(
    objective: Objective,
    start: Tensor,
    lambda_avg: Tensor,
    profile: Profile,
    randoms: Sequence[torch.Generator],
    progress: Progress | None,
) -> _Found:
    """Run Adam on every row of `start` at once and keep each row's best iterate."""
    w = start.clone().requires_grad_()
    best = _Found(start.clone(), *(torch.full((len(w),), torch.inf, device=w.device) for _ in range(2)))
    best_total = best.similarity.clone()
    optimiser = torch.optim.Adam([w], lr=profile.learning_rate, betas=(0.9, 0.99))
    low, high = _box(objective.generator, profile)
    for step in range(profile.steps + 1):
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


def _box(generator: Generator, profile: Profile) -> tuple[Tensor, Tensor]:
    if profile.box == "paper":
        return -torch.ones_like(generator.w_avg), torch.ones_like(generator.w_avg)
    return generator.w_low, generator.w_high


def _row_generators(seed: int, rows: int) -> list[torch.Generator]:
    """Return one stream of numbers for each row, so that no row depends on how many others there are."""
    seeds = [int(np.random.SeedSequence([seed, n]).generate_state(1, np.uint64)[0]) for n in range(rows)]
    return [torch.Generator().manual_seed(s % 2**63) for s in [*seeds[1:], seeds[0]]]


def _redraw_outside(w: Tensor, low: Tensor, high: Tensor, randoms: Sequence[torch.Generator]) -> None:
    """Replace components outside [low, high] by uniform draws inside (paper, "Methods")."""
    outside = (w < low) | (w > high)
    for row in outside.any(1).nonzero()[:, 0].tolist():
        drawn = torch.rand(w.shape[1], generator=randoms[row]).to(w.device) * (high - low) + low
        w[row, outside[row]] = drawn[outside[row]]
