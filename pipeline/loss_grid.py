"""One face normalized under every pair of losses: the grid of nine pictures that the paper shows.

Boyaci et al. 2020, "Methods" and its figure of the losses: rows are similarities, columns averageness losses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.generator import Generator
from models.lpips import Lpips
from pipeline.averageness import AVERAGENESS
from pipeline.descent import Progress
from pipeline.features import to_picture
from pipeline.objective import resized
from pipeline.profile import Profile
from pipeline.single_descent import SingleDescent

GRID_SIMILARITIES = ("pixel", "structural", "perceptual")
"""The grid's rows; `perceptual_vgg16` may stand for the last."""


@dataclass(frozen=True, slots=True)
class LossCell:
    """One pair of losses: its names, the normalized picture, uint8 (side, side, 3), and the final terms.

    similarity_term, averageness_term: L_S and L_A of the kept iterate, before the lambdas; total: with them.
    """

    similarity: str
    averageness: str
    picture: NDArray[np.uint8]
    similarity_term: float
    averageness_term: float
    total: float


def loss_grid(
    generator: Generator,
    metric: Lpips,
    x_raw: Tensor,
    mask: Tensor,
    profile: Profile,
    seed: int,
    vgg16: Lpips | None = None,
    progress: Progress | None = None,
) -> Iterator[LossCell]:
    """Yield the nine pairs, row by row, each normalized with the profile's steps and lambdas.

    x_raw: (3, H, W) in [-1, 1]; mask: (H, W) of 0 and 1. vgg16: the perceptual row's trunk in the place of
    `metric`. Raises ProfileError as `SingleDescent` does.
    """
    rows = [*GRID_SIMILARITIES[:2], "perceptual" if vgg16 is None else "perceptual_vgg16"]
    for similarity in rows:
        for averageness in AVERAGENESS:
            pair = replace(profile, similarity=similarity, averageness=averageness)
            descent = SingleDescent(generator, metric, x_raw, mask, pair, vgg16)
            found = descent.run(seed, progress)
            picture = drawn(generator, found.w, profile.metric_resolution)
            terms = float(found.similarity), float(found.averageness)
            total = profile.lambda_sim * terms[0] + profile.lambda_avg * terms[1]
            yield LossCell(similarity, averageness, picture, *terms, total)


@torch.no_grad()
def drawn(generator: Generator, w: Tensor, side: int) -> NDArray[np.uint8]:
    """Draw one latent (1, w_dim) with the whole network: uint8 (side, side, 3)."""
    return to_picture(resized(generator.network.synthesis(w).clamp(-1, 1), side)[0])
