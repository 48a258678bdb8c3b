"""The average that a face is pulled to: the population's, or the nearest of several.

A face is judged against the average, and one average over everybody lies nearer to some groups of people than
to others. The generator's averages are centres of clusters of its latents (`bench.fit_averages`); what the
encoder answers for a photograph says which of them is the nearest to the person.
"""

from __future__ import annotations

from torch import Tensor

from models.generator import Generator
from models.latent_averages import LatentAverages
from pipeline.profile import Profile, ProfileError


def averages_to_choose_from(generator: Generator, profile: Profile) -> LatentAverages | None:
    """Return the averages of which a face gets the nearest, None where the profile pulls to the population's.

    Raises ProfileError where the generator lacks what the profile's choice takes.
    """
    if profile.average == "population":
        return None
    parts = {"averages": generator.averages, "encoder": generator.encoder}
    lacking = [name for name, part in parts.items() if part is None]
    if generator.averages is None or lacking:
        raise ProfileError(f"average: {generator.name} has no {' and no '.join(lacking)}; use 'population'")
    return generator.averages


def nearest_averages(averages: LatentAverages, w: Tensor) -> Tensor:
    """Return the average nearest to each latent, (B, w_dim) for w (B, w_dim), by Euclidean distance."""
    return averages.w[(w[:, None] - averages.w).norm(dim=2).argmin(1)]


def number_of_average(generator: Generator, profile: Profile, average: Tensor | None) -> int | None:
    """Return which of the averages that a face is pulled to the nearest of `average` (w_dim,) is, from 1 on.

    None where there is one for everybody, or nobody knows.
    """
    averages = averages_to_choose_from(generator, profile)
    if averages is None or average is None:
        return None
    return int((averages.w - average).norm(dim=1).argmin()) + 1
