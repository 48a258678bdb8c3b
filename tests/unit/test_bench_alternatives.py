"""What facenorm is timed against: the textbook's generator, the plain loop, the projector."""

from __future__ import annotations

import math
import time

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.plain_generator import PlainGenerator, PlainInverseHaar, load_plain_generator
from bench.plain_loop import PlainLoop
from bench.projector import Projector, learning_rate, noise_strength
from bench.timed_steps import seconds_per_step
from models.mobilestylegan import inverse_haar
from tests.real_weights import real_generator
from tests.tiny import TINY_GENERATOR, latents, random_metric, tiny_generator

CPU = torch.device("cpu")


def plain() -> PlainGenerator:
    return PlainGenerator(load_file(TINY_GENERATOR))


def picture(seed: int = 3) -> Tensor:
    return tiny_generator().network.synthesis(latents(1, seed=seed))


def test_textbook_generator_draws_what_the_optimised_one_draws() -> None:
    w = latents(3)
    ours = tiny_generator().network.synthesis(w)
    torch.testing.assert_close(plain()(w), ours, rtol=0, atol=1e-4)
    assert (ours[0] - ours[1]).abs().max() > 0.1, "every sample has weights of its own"


def test_textbook_generator_has_the_same_gradient() -> None:
    probe = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    gradients = []
    for draw in (plain(), tiny_generator().network.synthesis):
        w = latents(2).requires_grad_()
        gradients.append(torch.autograd.grad((draw(w) * probe).sum(), w)[0])
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)


@pytest.mark.real_weights
def test_textbook_generator_draws_the_real_face() -> None:
    network = real_generator().network
    with torch.no_grad():
        w = network.mapping(torch.randn(1, network.w_dim, generator=torch.Generator().manual_seed(4)))
        # Measured: 8e-5 on two faces, whose values reach 1.6.
        torch.testing.assert_close(load_plain_generator(CPU)(w), network.synthesis(w), rtol=0, atol=1.5e-4)


def test_transposed_convolution_is_the_butterfly() -> None:
    bands = torch.randn(2, 12, 3, 5, generator=torch.Generator().manual_seed(2))
    butterfly = inverse_haar(bands.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(PlainInverseHaar()(bands), butterfly)


def distance(w: Tensor, target: Tensor) -> float:
    return float(random_metric()(tiny_generator().network.synthesis(w), target))


def test_plain_loop_comes_nearer_to_the_picture() -> None:
    generator, target = tiny_generator(), picture()
    loop = PlainLoop(plain(), random_metric(), target, generator.w_avg, 64)
    for _ in range(40):
        loop.step()
    assert distance(loop.w.detach(), target) < 0.3 * distance(generator.w_avg[None], target)


def test_projectors_rate_rises_holds_and_falls() -> None:
    assert learning_rate(0.0) == 0
    assert learning_rate(0.025) == pytest.approx(0.05)
    assert {learning_rate(position) for position in (0.05, 0.4, 0.75)} == {0.1}
    # Half of a cosine over the last quarter.
    assert learning_rate(0.875) == pytest.approx(0.05)
    assert learning_rate(0.8) == pytest.approx(0.1 * math.cos(math.pi / 10) ** 2)
    assert learning_rate(1.0) == pytest.approx(0, abs=1e-12)


def test_projectors_noise_ends_after_three_quarters() -> None:
    assert noise_strength(0.0) == 0.05
    assert noise_strength(0.375) == pytest.approx(0.05 / 4)
    assert noise_strength(0.75) == noise_strength(1.0) == 0


@pytest.mark.torture
def test_projector_finds_a_face_that_the_generator_draws() -> None:
    generator, target = tiny_generator(), picture()
    projector = Projector(plain(), random_metric(), target, generator.w_avg, generator.w_std, steps=200)
    for _ in range(200):
        projector.step()
    found = projector.w.detach().clone()
    assert distance(found, target) < 0.05 * distance(generator.w_avg[None], target)
    projector.step()
    torch.testing.assert_close(projector.w.detach(), found, rtol=0, atol=1e-7)


def test_projector_shakes_w_as_far_as_the_latents_scatter() -> None:
    generator = tiny_generator()
    seen: list[Tensor] = []

    def draw(w: Tensor) -> Tensor:
        seen.append(w.detach())
        return generator.network.synthesis(w)

    for seed in range(30):
        Projector(draw, random_metric(), picture(), generator.w_avg, generator.w_std, seed=seed).step()
    noise = torch.cat(seen) - generator.w_avg
    expected = 0.05 * math.sqrt(float(sum(std**2 for std in generator.w_std)))
    assert float(noise.std()) == pytest.approx(expected, rel=0.1)


def test_only_the_steps_after_the_first_are_timed() -> None:
    waits = iter([0.2, 0.02, 0.02])
    seconds = seconds_per_step(lambda: time.sleep(next(waits)), 2, CPU)
    assert 0.02 <= seconds < 0.1
    with pytest.raises(ValueError, match="at least one"):
        seconds_per_step(lambda: None, 0, CPU)
