"""The paper's candidates: the best iterate, then those whose pictures are nearest to its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.neighbouring_iterates import neighbouring_iterates
from pipeline.normalization import normalize
from pipeline.single_descent import SingleDescent
from tests.tiny import latents, random_metric, tiny_generator
from tests.unit.test_normalization import PROFILE, face, found, mask, objective

PAPER = replace(PROFILE, candidates_from="iterates", candidates=4, steps=12, start_spread=0.0)


def perceptual(a: torch.Tensor, b: torch.Tensor) -> float:
    inside = mask()[None, None]
    with torch.no_grad():
        one, other = (tiny_generator().network.synthesis(w[None]) * inside for w in (a, b))
        return random_metric()(one, other, inside).item()


def test_nearest_pictures_come_first() -> None:
    w = latents(9, seed=4)
    best, others = w[0], w[1:]
    chosen = neighbouring_iterates(objective(), best, w, 4)
    order = sorted(range(8), key=lambda n: perceptual(best, others[n]))
    assert torch.equal(chosen, torch.stack([best, *(others[n] for n in order[:3])]))
    by_latent = sorted(range(8), key=lambda n: (best - others[n]).norm().item())
    assert order[:3] != by_latent[:3], "these latents do not tell the picture's distance from the latent's"


def test_best_may_be_among_the_iterates_or_not() -> None:
    w = latents(5, seed=4)
    assert torch.equal(
        neighbouring_iterates(objective(), w[0], w, 3), neighbouring_iterates(objective(), w[0], w[1:], 3)
    )
    assert torch.equal(neighbouring_iterates(objective(), w[0], w, 1), w[:1])
    with pytest.raises(ValueError, match="4 iterates"):
        neighbouring_iterates(objective(), w[0], w, 6)


def test_candidates_are_iterates_of_one_run() -> None:
    answer = found(PAPER, seed=2)
    assert answer.w_norm.shape == (4, 32)
    assert len(answer.similarity) == len(answer.averageness) == 5
    visited = []
    descent = SingleDescent(tiny_generator(), random_metric(), face(), mask(), PAPER)
    best = descent.run(2, watch=lambda _, w: visited.append(w[0]))
    torch.testing.assert_close(answer.w_norm[:1], best.w, rtol=0, atol=5e-3)
    for candidate in answer.w_norm:
        nearest = min((candidate - w).abs().max().item() for w in visited)
        assert nearest < 5e-3
    terms = objective().terms(torch.cat([answer.w_norm, answer.w_raw[None]]))
    torch.testing.assert_close(answer.similarity, terms[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(answer.averageness, terms[1], rtol=1e-4, atol=1e-6)
    distances = [perceptual(answer.w_norm[0], w) for w in answer.w_norm]
    assert distances == sorted(distances)
    assert distances[1] > 0


def test_the_first_is_that_of_a_single_candidate_and_repeats() -> None:
    one = normalize(tiny_generator(), random_metric(), face(), mask(), replace(PAPER, candidates=1), 2)
    again, answer = found(PAPER, seed=2), found(PAPER, seed=2)
    assert torch.equal(answer.w_norm, again.w_norm)
    assert torch.equal(answer.w_norm[:1], one.w_norm)
    assert torch.equal(answer.w_raw, one.w_raw)
