"""The plain loop with its candidates: K starts of their own, or iterates of one run (Boyaci et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.generator import Generator
from models.lpips import Lpips
from pipeline.descent import Found, Progress, descend
from pipeline.neighbouring_iterates import neighbouring_iterates
from pipeline.objective import Objective
from pipeline.profile import Profile, ProfileError
from pipeline.similarity import PERCEPTUAL_TRUNKS


def starts_apart(profile: Profile) -> int:
    """Return how many normalizations start: one for each candidate, or a single one."""
    return profile.candidates if profile.candidates_from == "starts" else 1


def objective_for(
    generator: Generator, metric: Lpips, x_raw: Tensor, mask: Tensor, profile: Profile, drawn_at: int
) -> Objective:
    """Return the objective with the profile's losses; raises ProfileError for a metric of another trunk."""
    trunk = PERCEPTUAL_TRUNKS.get(profile.similarity, metric.trunk)
    if trunk != metric.trunk:
        raise ProfileError(
            f"similarity: {profile.similarity!r} needs LPIPS on {trunk}, not on {metric.trunk}"
        )
    return Objective(
        generator,
        metric,
        x_raw,
        mask,
        profile.metric_resolution,
        drawn_at,
        profile.similarity,
        profile.averageness,
    )


def plain_loop(
    objective: Objective,
    starts: Tensor,
    profile: Profile,
    randoms: Sequence[torch.Generator],
    progress: Progress | None,
) -> Found:
    """Return the K candidates, and in the last row the raw inversion (lambda_avg = 0).

    starts: (`starts_apart` + 1, w_dim), the raw inversion's at last; randoms: one stream for each.
    """
    lambda_avg = torch.full((len(starts),), profile.lambda_avg, device=starts.device)
    lambda_avg[-1] = 0
    if profile.candidates_from == "starts" or profile.candidates == 1:
        return descend(objective, starts, lambda_avg, profile, randoms, progress)
    iterates: list[Tensor] = []
    found = descend(
        objective, starts, lambda_avg, profile, randoms, progress, lambda _, w: iterates.append(w[0])
    )
    w_norm = neighbouring_iterates(objective, found.w[0], torch.stack(iterates), profile.candidates)
    with torch.no_grad():
        terms = [objective.terms(w) for w in w_norm[1:, None]]
    similarity, averageness = (torch.cat(column) for column in zip(*terms, strict=True))
    return Found(
        torch.cat([w_norm, found.w[1:]]),
        torch.cat([found.similarity[:1], similarity, found.similarity[1:]]),
        torch.cat([found.averageness[:1], averageness, found.averageness[1:]]),
    )
