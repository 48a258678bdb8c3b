"""Normalization: the nearest face that is also near the average one.

minimise lambda_sim * L_S(x_raw, G(w)) + lambda_avg * L_A(w, w_avg) over w (Boyaci et al. 2020, "Methods"),
with L_S the masked LPIPS and L_A the mean absolute error, unless the profile names others. Every row of a
batch is an optimisation of its own: the K normalizations and the raw inversion (lambda_avg = 0) run side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.generator import Generator
from models.latent_encoder import ENCODER_SIDE
from models.lpips import Lpips
from pipeline.descent import Progress, row_generators
from pipeline.objective import Objective, resized
from pipeline.plain_loop import objective_for, plain_loop, starts_apart
from pipeline.profile import Profile, ProfileError
from pipeline.proximal_newton import NewtonState, newton


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
    similarity_metric: Lpips | None = None,
) -> Latents:
    """Find K normalized latents and the raw inversion's latent for one aligned face.

    x_raw: (3, H, W) in [-1, 1]; mask: (H, W) of 0 and 1; both on the generator's device, any side.
    Repeatable for a seed on the same device. similarity_metric: what L_S is measured with, where that is not
    `metric`. Raises ProfileError where the generator lacks what the profile asks for.
    """
    raw_start = generator.w_avg if profile.start == "average" else encoded(generator, metric, x_raw, mask)
    start = generator.w_avg + profile.start_share * (raw_start - generator.w_avg)
    randoms = row_generators(seed, starts_apart(profile) + 1)
    noise = torch.stack([torch.randn(generator.network.w_dim, generator=r) for r in randoms])
    noise = profile.start_spread * generator.w_std * noise.to(generator.device)
    noise[0] = 0  # the first candidate starts without noise

    def objective(drawn_at: int) -> Objective:
        return objective_for(generator, similarity_metric or metric, x_raw, mask, profile, drawn_at)

    if profile.method == "newton":
        return _by_newton(generator, objective, start, noise[1:-1], profile, progress)
    starts = torch.cat([start + noise[:-1], raw_start[None]])
    found = plain_loop(objective(profile.draw_resolution), starts, profile, randoms, progress)
    return Latents(found.w[:-1], found.w[-1], found.similarity, found.averageness)


def _by_newton(
    generator: Generator,
    objective: Callable[[int], Objective],
    start: Tensor,
    noise: Tensor,
    profile: Profile,
    progress: Progress | None,
) -> Latents:
    """Descend on cheap pictures first, and with the whole network at last.

    The raw inversion is the normalization let go: it begins where that has come to, with the curvature that it
    has learned, so that w_raw and w_norm lie in the same valley and differ by what the pull to the average did.
    The further candidates start about the first one's cheap result. Where each comes to lie beside the first is
    taken over to the first one's last result: the last steps, three times as dear, are shared. start: (w_dim,).
    noise: (K - 1, w_dim).
    """
    if generator.curvature is None:
        raise ProfileError(f"method: {generator.name} has no curvature; use 'adam'")
    steps = profile.steps + profile.full_steps + (profile.candidate_steps if profile.candidates > 1 else 0)
    done = 0

    def told() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, steps)

    cheap, whole = objective(profile.draw_resolution), objective(generator.network.resolution)
    both = torch.tensor([profile.lambda_avg, 0.0], device=generator.device)
    begin = NewtonState.at(start[None], 2 * profile.lambda_sim * generator.curvature)
    near, _ = newton(cheap, begin, profile.lambda_sim, both[:1], profile.steps, told)
    alone = profile.full_steps - profile.raw_steps
    at, _ = newton(whole, near, profile.lambda_sim, both[:1], alone, told)
    found = newton(whole, at.twice(), profile.lambda_sim, both, profile.raw_steps, told)[1]
    if profile.candidates == 1:
        return Latents(found.w[:1], found.w[1], found.similarity, found.averageness)
    start = NewtonState.at(near.w[0] + noise, near.curvature[0])
    pull = both[:1].expand(len(start.w))
    beside, _ = newton(cheap, start, profile.lambda_sim, pull, profile.candidate_steps, told)
    further = found.w[0] + beside.w - near.w[0]
    w_norm = torch.cat(
        [found.w[:1], torch.minimum(torch.maximum(further, generator.w_low), generator.w_high)]
    )
    with torch.no_grad():
        terms = [whole.terms(w) for w in w_norm[1:, None]]
    similarity, averageness = (torch.cat(column) for column in zip(*terms, strict=True))
    return Latents(
        w_norm,
        found.w[1],
        torch.cat([found.similarity[:1], similarity, found.similarity[1:]]),
        torch.cat([found.averageness[:1], averageness, found.averageness[1:]]),
    )


@torch.no_grad()
def encoded(generator: Generator, metric: Lpips, x_raw: Tensor, mask: Tensor) -> Tensor:
    """Return the latent (w_dim,) with which the encoder answers a face; raises ProfileError without one."""
    if generator.encoder is None:
        raise ProfileError(f"start: {generator.name} has no encoder; use 'average'")
    small = functional.interpolate(mask[None, None], (ENCODER_SIDE,) * 2, mode="area")
    picture = resized(x_raw[None], ENCODER_SIDE) * small
    w: Tensor = generator.encoder(picture, metric.features(picture))[0]
    return torch.minimum(torch.maximum(w, generator.w_low), generator.w_high)
