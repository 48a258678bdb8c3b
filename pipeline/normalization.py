"""Normalization: the nearest face that is also near the average one.

minimise lambda_sim * L_S(x_raw, G(w)) + lambda_avg * L_A(w, w_avg) over w (Boyaci et al. 2020, "Methods"),
with L_S the masked LPIPS and L_A the mean absolute error, unless the profile names others, and w_avg the
average over everybody or the one nearest to the person. Every row of a batch is an optimisation of its own:
the K normalizations and the raw inversion (lambda_avg = 0) run side by side.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from models.generator import Generator
from models.latent_encoder import ENCODER_SIDE
from models.lpips import Lpips
from pipeline.descent import Progress, row_generators
from pipeline.latents import Latents
from pipeline.nearest_average import averages_to_choose_from, nearest_averages
from pipeline.newton_normalization import StepEngine, normalize_by_newton
from pipeline.objective import resized
from pipeline.plain_loop import objective_for, plain_loop, starts_apart
from pipeline.profile import Profile, ProfileError


def normalize(
    generator: Generator,
    metric: Lpips,
    x_raw: Tensor,
    mask: Tensor,
    profile: Profile,
    seed: int,
    progress: Progress | None = None,
    similarity_metric: Lpips | None = None,
    engine: StepEngine | None = None,
) -> Latents:
    """Find K normalized latents and the raw inversion's latent for one aligned face: a batch of one.

    x_raw: (3, H, W) in [-1, 1]; mask: (H, W) of 0 and 1. All else as in `normalize_batch`.
    """
    return normalize_batch(
        generator, metric, x_raw[None], mask[None], profile, seed, progress, similarity_metric, engine
    )[0]


def normalize_batch(
    generator: Generator,
    metric: Lpips,
    x_raw: Tensor,
    masks: Tensor,
    profile: Profile,
    seed: int,
    progress: Progress | None = None,
    similarity_metric: Lpips | None = None,
    engine: StepEngine | None = None,
) -> list[Latents]:
    """Find K normalized latents and the raw inversion's latent for each of B aligned faces.

    Newton's steps run for all faces at once, the plain loop for one after the other.

    x_raw: (B, 3, H, W) in [-1, 1]; masks: (B, H, W) of 0 and 1; both on the generator's device, any side.
    Repeatable for a seed on the same device. similarity_metric: what L_S is measured with, where that is not
    `metric`. engine: what Newton's steps are computed with, plain float32 by default. Raises ProfileError
    where the generator lacks what the profile asks for.
    """
    faces = list(zip(x_raw, masks, strict=True))
    average, goal = average_and_goal(generator, metric, x_raw, masks, profile)
    start = average + profile.start_share * (goal - average)
    similarity_metric = similarity_metric or metric
    if profile.method == "newton":
        engine = engine or StepEngine.plain(generator, similarity_metric)
        noise, _ = _noise(generator, profile, seed)
        found = normalize_by_newton(engine, x_raw, masks, average, start, noise[1:-1], profile, progress)
        return [replace(one, average=own) for one, own in zip(found, average, strict=True)]
    latents = []
    for n, face in enumerate(faces):
        noise, randoms = _noise(generator, profile, seed)
        pulled = replace(generator, w_avg=average[n])
        objective = objective_for(pulled, similarity_metric, *face, profile, profile.draw_resolution)
        starts = torch.cat([start[n] + noise[:-1], goal[n, None]])
        at = plain_loop(objective, starts, profile, randoms, progress)
        latents.append(Latents(at.w[:-1], at.w[-1], at.similarity, at.averageness, average[n]))
    return latents


def average_and_goal(
    generator: Generator, metric: Lpips, x_raw: Tensor, masks: Tensor, profile: Profile
) -> tuple[Tensor, Tensor]:
    """Return the average that each face is pulled to, and where its way from there leads, each (B, w_dim).

    Raises ProfileError where the generator lacks what the profile asks for.
    """
    averages = averages_to_choose_from(generator, profile)
    average = generator.w_avg.expand(len(x_raw), -1)
    if averages is None and profile.start == "average":
        return average, average
    # One by one, so that no photograph feels who shares its batch.
    faces = zip(x_raw, masks, strict=True)
    answer = torch.cat([encoded(generator, metric, x[None], mask[None]) for x, mask in faces])
    if averages is not None:
        average = nearest_averages(averages, answer)
    return average, average if profile.start == "average" else answer


def _noise(generator: Generator, profile: Profile, seed: int) -> tuple[Tensor, list[torch.Generator]]:
    """Return how far beside the start each row begins, (rows, w_dim), and each row's stream of numbers."""
    randoms = row_generators(seed, starts_apart(profile) + 1)
    noise = torch.stack([torch.randn(generator.network.w_dim, generator=r) for r in randoms])
    noise = profile.start_spread * generator.w_std * noise.to(generator.device)
    noise[0] = 0  # the first candidate starts without noise
    return noise, randoms


@torch.no_grad()
def encoded(generator: Generator, metric: Lpips, x_raw: Tensor, masks: Tensor) -> Tensor:
    """Return the latents (B, w_dim) with which the encoder answers faces; raises ProfileError without one.

    x_raw: (B, 3, H, W) in [-1, 1]; masks: (B, H, W).
    """
    if generator.encoder is None:
        raise ProfileError(f"start: {generator.name} has no encoder; use 'average'")
    small = functional.interpolate(masks[:, None], (ENCODER_SIDE,) * 2, mode="area")
    picture = resized(x_raw, ENCODER_SIDE) * small
    w: Tensor = generator.encoder(picture, metric.features(picture))
    return torch.minimum(torch.maximum(w, generator.w_low), generator.w_high)
