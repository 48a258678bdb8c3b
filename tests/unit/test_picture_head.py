"""The head for small pictures draws what the whole network draws, in colour and in place."""

from __future__ import annotations

import pytest
import torch

from models.catalog import GENERATOR
from models.generator import Generator, load_generator
from pipeline.objective import resized

pytestmark = pytest.mark.real_weights


@pytest.fixture(scope="module")
def generator() -> Generator:
    return load_generator(GENERATOR, torch.device("cpu"))


def drawn_latents(generator: Generator, count: int) -> torch.Tensor:
    z = torch.randn(count, generator.network.w_dim, generator=torch.Generator().manual_seed(15))
    return generator.w_avg + 0.8 * (generator.network.mapping(z) - generator.w_avg)


def test_the_small_picture_is_the_full_one_made_smaller(generator: Generator) -> None:
    w = drawn_latents(generator, 3)
    with torch.no_grad():
        full = torch.cat([resized(generator.network.synthesis(row), 256) for row in w[:, None]])
        small = generator.network.synthesis(w, 256)
    error = (small - full).square().mean((1, 2, 3)).sqrt()
    other = (small - full.roll(1, 0)).square().mean((1, 2, 3)).sqrt()
    assert (error < 0.12).all(), error
    assert (other > 3 * error).all(), other
