"""What one would run instead of facenorm, timed for the same run's ratios.

Three forms of the paper's plain loop: on the textbook generator with the metric at full resolution, which
is the yardstick; the same on facenorm's own generator, which shows what the generator alone gives; and with
the metric reduced to 256 px besides, which is what the `reference` profile computes. And a projector in
NVIDIA's manner (`bench.projector`) on both generators. They run in the process that has scored, so
facenorm's settings of the C library's allocator help them, too; PyTorch's own defaults hold for all (on a
GPU: convolutions in TF32, matrix products in float32).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from bench.plain_generator import load_plain_generator
from bench.plain_loop import PLAIN_STEPS, Draw, PlainLoop
from bench.projector import PROJECTOR_STEPS, Projector
from bench.timed_steps import seconds_per_step
from models.catalog import GENERATOR
from models.generator import choose_device, load_generator
from models.lpips import load_metric

_REDUCED_SIDE = 256


@dataclass(frozen=True, slots=True)
class Alternative:
    """An optimiser of which some steps were timed. steps: how many a photograph takes."""

    seconds_per_step: float
    steps: int

    @property
    def seconds_per_photograph(self) -> float:
        """The timed steps' mean, multiplied."""
        return self.seconds_per_step * self.steps


def time_alternatives(device: str, plain_steps: int, projector_steps: int) -> dict[str, Alternative]:
    """Return the alternatives by name, each timed for so many steps; none of a kind whose count is 0."""
    own = load_generator(GENERATOR, choose_device(device))
    generators: dict[str, Draw] = {
        "": load_plain_generator(own.device),
        "_own_generator": own.network.synthesis,
    }
    metric = load_metric(own.device)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        z = torch.randn(1, own.network.w_dim, generator=random).to(own.device)
        picture = own.network.synthesis(own.network.mapping(z))

    def timed(step: Callable[[], None], count: int, steps: int) -> Alternative:
        return Alternative(seconds_per_step(step, count, own.device), steps)

    found: dict[str, Alternative] = {}
    for suffix, draw in generators.items() if plain_steps else ():
        loop = PlainLoop(draw, metric, picture, own.w_avg, own.network.resolution)
        found[f"plain{suffix}"] = timed(loop.step, plain_steps, 2 * PLAIN_STEPS)
    if plain_steps:
        loop = PlainLoop(own.network.synthesis, metric, picture, own.w_avg, _REDUCED_SIDE)
        found["reference"] = timed(loop.step, plain_steps, 2 * PLAIN_STEPS)
    for suffix, draw in generators.items() if projector_steps else ():
        projector = Projector(draw, metric, picture, own.w_avg, own.w_std)
        found[f"projector{suffix}"] = timed(projector.step, projector_steps, PROJECTOR_STEPS)
    return found
