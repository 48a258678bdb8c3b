"""How a normalization comes about: pictures of some of its iterates, as the paper shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.generator import Generator
from pipeline.descent import Progress
from pipeline.loss_grid import drawn
from pipeline.single_descent import SingleDescent

PAPER_ITERATES = (0, 10, 50, 100, 500)
"""Steps after which the paper's figure shows the picture."""


@dataclass(frozen=True, slots=True)
class IteratePicture:
    """One iterate: after how many steps, its picture, uint8 (side, side, 3), and its L_S and L_A."""

    step: int
    picture: NDArray[np.uint8]
    similarity_term: float
    averageness_term: float


def iterate_strip(
    generator: Generator,
    descent: SingleDescent,
    steps: Sequence[int],
    seed: int,
    side: int,
    progress: Progress | None = None,
) -> list[IteratePicture]:
    """Return the iterates after `steps`, in their order; those beyond the run's end are left out.

    These are the iterates themselves, not the best so far. side: of the pictures.
    """
    kept: dict[int, Tensor] = {}

    def watch(step: int, w: Tensor) -> None:
        if step in steps:
            kept[step] = w

    descent.run(seed, progress, watch)
    strip = []
    for step in sorted(kept):
        with torch.no_grad():
            similarity, averageness = descent.objective.terms(kept[step])
        picture = drawn(generator, kept[step], side)
        strip.append(IteratePicture(step, picture, float(similarity), float(averageness)))
    return strip
