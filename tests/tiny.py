"""The tiny generator and a metric of random features: all of the arithmetic, none of the downloads."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from models.generator import Generator, load_generator
from models.lpips import Lpips

TINY_GENERATOR = Path(__file__).parent / "data" / "tiny.safetensors"


@cache
def tiny_generator() -> Generator:
    return load_generator(str(TINY_GENERATOR), torch.device("cpu"))


@cache
def random_metric() -> Lpips:
    """LPIPS on an AlexNet of 8 random channels a layer: a metric, though nobody's perception."""
    random = torch.Generator().manual_seed(3)
    weights: dict[str, Tensor] = {}
    for index, inward, kernel in ((0, 3, 11), (3, 8, 5), (6, 8, 3), (8, 8, 3), (10, 8, 3)):
        spread = math.sqrt(2 / (inward * kernel**2))
        weights[f"features.{index}.weight"] = spread * torch.randn(
            8, inward, kernel, kernel, generator=random
        )
        weights[f"features.{index}.bias"] = 0.1 * torch.randn(8, generator=random)
    return Lpips("alexnet", weights, [torch.rand(1, 8, 1, 1, generator=random) for _ in range(5)])


def latents(count: int, seed: int = 0) -> Tensor:
    """(count, w_dim) as the tiny generator's own mapping draws them."""
    network = tiny_generator().network
    with torch.no_grad():
        return network.mapping(
            torch.randn(count, network.w_dim, generator=torch.Generator().manual_seed(seed))
        )
