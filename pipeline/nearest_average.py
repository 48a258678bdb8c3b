"""The average that a face is pulled to: the population's, or the nearest of several.

A face is judged against the average, and one average over everybody lies nearer to some groups of people than
to others. The generator's averages are centres of clusters of its latents (`bench.fit_averages`); what the
encoder answers for a photograph says which of them is the nearest to the person.
"""

from __future__ import annotations

from torch import Tensor

from models.generator import Generator
from pipeline.profile import Profile, ProfileError


def population_averages(generator: Generator, count: int) -> Tensor:
    """Return w_avg for each of `count` faces, (count, w_dim)."""
    return generator.w_avg.expand(count, -1)


def nearest_averages(generator: Generator, w: Tensor) -> Tensor:
    """Return the average nearest to each latent, (B, w_dim) for w (B, w_dim), by Euclidean distance.

    Raises ProfileError where the generator has no averages to choose from.
    """
    if generator.averages is None:
        raise ProfileError(f"average: {generator.name} has one average only; use 'population'")
    averages = generator.averages.w
    return averages[(w[:, None] - averages).norm(dim=2).argmin(1)]


def check_average(generator: Generator, profile: Profile) -> None:
    """Raise ProfileError where the generator lacks what the profile's average takes."""
    if profile.average != "nearest":
        return
    lacking = [
        name
        for name, part in (("averages", generator.averages), ("encoder", generator.encoder))
        if part is None
    ]
    if lacking:
        raise ProfileError(f"average: {generator.name} has no {' and no '.join(lacking)}; use 'population'")
