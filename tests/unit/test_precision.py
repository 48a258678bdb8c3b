"""bfloat16 draws and compares nearly the same; the latent and its gradient stay float32."""

from __future__ import annotations

import pytest
import torch

from models.precision import PrecisionError, in_precision
from tests.tiny import latents, random_metric, tiny_generator


def test_float32_is_the_generator_itself() -> None:
    generator, metric = tiny_generator(), random_metric()
    assert in_precision(generator, metric, "float32") == (generator, metric)


def test_bfloat16_pictures_are_near_and_the_original_is_left_alone() -> None:
    generator, w = tiny_generator(), latents(4)
    before = generator.network.synthesis(w)
    coarse, _ = in_precision(generator, random_metric(), "bfloat16")
    drawn = coarse.network.synthesis(w)
    assert drawn.dtype == torch.bfloat16
    assert torch.equal(generator.network.synthesis(w), before)
    difference = (drawn.float() - before).square().mean().sqrt() / before.std()
    # bfloat16 rounds at 2^-9; some fifteen roundings one after the other.
    assert 1e-4 < difference < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_gradient_for_w_points_the_same_way(seed: int) -> None:
    gradients = []
    target = tiny_generator().network.synthesis(latents(1, seed=7))
    for precision in ("float32", "bfloat16"):
        generator, metric = in_precision(tiny_generator(), random_metric(), precision)
        w = latents(1, seed=seed).requires_grad_()
        distance = metric(generator.network.synthesis(w).float(), target)
        assert distance.dtype == torch.float32
        gradients.append(torch.autograd.grad(distance.sum(), w)[0])
    fine, coarse = gradients
    assert coarse.dtype == torch.float32
    # Measured: 0.989 to 0.9997, and lengths 0.98 to 1.06; with the whole network converted 0.94.
    assert float(torch.cosine_similarity(fine, coarse)) > 0.98
    assert float(coarse.norm() / fine.norm()) == pytest.approx(1, abs=0.1)


def test_bfloat16_distance_is_near() -> None:
    pictures = [tiny_generator().network.synthesis(latents(1, seed=n)) for n in (1, 2)]
    fine = random_metric()(*pictures)
    coarse = in_precision(tiny_generator(), random_metric(), "bfloat16")[1](*pictures)
    assert fine.dtype == coarse.dtype == torch.float32
    assert float(coarse) == pytest.approx(float(fine), rel=0.02)
    assert float(coarse) != float(fine)


def test_unknown_precisions_are_named() -> None:
    with pytest.raises(PrecisionError, match="float64"):
        in_precision(tiny_generator(), random_metric(), "float64")
