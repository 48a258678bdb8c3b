"""Profiles name their losses: each pair is what is minimised; what cannot work is refused with a way out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.lpips import Lpips
from pipeline.averageness import AVERAGENESS
from pipeline.iterate_strip import iterate_strip
from pipeline.loss_grid import GRID_SIMILARITIES, loss_grid
from pipeline.normalization import normalize
from pipeline.objective import Objective
from pipeline.profile import Profile, ProfileError
from pipeline.single_descent import SingleDescent
from tests.tiny import latents, random_metric, tiny_generator
from tests.unit.test_normalization import PROFILE, face, mask

LARGER = replace(PROFILE, metric_resolution=176, steps=4, candidates=1, start_spread=0.0)
"""MS-SSIM needs more pixels than the tiny generator draws; its pictures are enlarged."""


def vgg16() -> Lpips:
    """LPIPS on a VGG-16 of 4 random channels a layer."""
    random = torch.Generator().manual_seed(8)
    weights, inward = {}, 3
    for index in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):
        weights[f"features.{index}.weight"] = 0.3 * torch.randn(4, inward, 3, 3, generator=random)
        weights[f"features.{index}.bias"] = 0.1 * torch.randn(4, generator=random)
        inward = 4
    return Lpips("vgg16", weights, [torch.rand(1, 4, 1, 1, generator=random) for _ in range(5)])


def objective(similarity: str, averageness: str = "mean_absolute") -> Objective:
    metric = vgg16() if similarity == "perceptual_vgg16" else random_metric()
    return Objective(tiny_generator(), metric, face(), mask(), 176, 0, similarity, averageness)


def test_pixel_similarity_of_latents_is_that_of_their_pictures() -> None:
    w, inside = latents(2), mask().bool().numpy()
    plain = Objective(tiny_generator(), random_metric(), face(), mask(), 64, 0, "pixel")
    with torch.no_grad():
        found = plain.terms(w)[0]
        pictures = tiny_generator().network.synthesis(w).numpy()
    for k in range(2):
        error = np.abs(pictures[k] - face().numpy())[:, inside] / 2
        assert found[k].item() == pytest.approx(error.mean(), rel=1e-4)


@pytest.mark.parametrize("similarity", ["pixel", "structural", "perceptual", "perceptual_vgg16"])
@pytest.mark.parametrize("averageness", AVERAGENESS)
def test_every_pair_is_minimised(similarity: str, averageness: str) -> None:
    profile = replace(LARGER, similarity=similarity, averageness=averageness)
    extra = vgg16() if similarity == "perceptual_vgg16" else None
    answer = normalize(tiny_generator(), random_metric(), face(), mask(), profile, 0, similarity_metric=extra)
    goal = objective(similarity, averageness)
    with torch.no_grad():
        terms = goal.terms(torch.cat([answer.w_norm, answer.w_raw[None]]))
        start, none = goal.terms(tiny_generator().w_avg[None])
    torch.testing.assert_close(answer.similarity, terms[0], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(answer.averageness, terms[1], rtol=1e-3, atol=1e-6)
    totals = 10 * answer.similarity + torch.tensor([0.1, 0.0]) * answer.averageness
    assert none.item() == 0
    assert (totals < 0.97 * 10 * start).all()
    expected = AVERAGENESS[averageness](answer.w_norm, tiny_generator().w_avg)
    assert answer.averageness[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_losses_lead_to_different_faces() -> None:
    found = [
        normalize(
            tiny_generator(), random_metric(), face(), mask(), replace(LARGER, similarity=name), 0
        ).w_norm[0]
        for name in GRID_SIMILARITIES
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (found[one] - found[other]).abs().max() > 0.05


def test_vgg16_needs_its_own_trunk() -> None:
    profile = replace(LARGER, similarity="perceptual_vgg16")
    with pytest.raises(ProfileError, match=r"similarity.*vgg16"):
        normalize(tiny_generator(), random_metric(), face(), mask(), profile, 0)


@pytest.mark.parametrize(
    ("key", "value"),
    [("similarity", "pixel"), ("averageness", "mean_squared"), ("candidates_from", "iterates")],
)
def test_newton_takes_the_papers_choice_only_and_says_what_to_do(key: str, value: str) -> None:
    newton = Profile.from_card(tiny_generator().card.profiles["newton"])
    with pytest.raises(ProfileError, match=rf"{key}.*use method 'adam'"):
        replace(newton, **{key: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"similarity": "sharpness"}, "similarity must be .*'pixel'"),
        ({"averageness": "median"}, "averageness must be .*'mean_exponential'"),
        ({"similarity": "structural", "metric_resolution": 128}, "metric_resolution .* 161"),
        ({"candidates": 11}, "candidates must be at most 10"),
        ({"candidates_from": "iterates", "candidates": 9, "steps": 8}, "candidates_from"),
        ({"candidates_from": "anywhere"}, "candidates_from must be"),
    ],
)
def test_impossible_choices_name_the_key(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        Profile.from_card(PROFILE.as_dict() | changes)


def test_grid_holds_the_nine_pairs_with_their_final_terms() -> None:
    cells = list(loss_grid(tiny_generator(), random_metric(), face(), mask(), LARGER, 0))
    pairs = [(cell.similarity, cell.averageness) for cell in cells]
    assert pairs == [(s, a) for s in GRID_SIMILARITIES for a in AVERAGENESS]
    for cell in cells:
        assert cell.picture.shape == (176, 176, 3)
        assert cell.total == pytest.approx(10 * cell.similarity_term + 0.1 * cell.averageness_term)
        assert cell.total < 10 * objective(cell.similarity).terms(tiny_generator().w_avg[None])[0].item()
    assert len({cell.picture.tobytes() for cell in cells}) == 9
    (last,) = [
        cell
        for cell in loss_grid(tiny_generator(), random_metric(), face(), mask(), LARGER, 0, vgg16())
        if (cell.similarity, cell.averageness) == ("perceptual_vgg16", "mean_exponential")
    ]
    assert last.similarity_term != cells[-1].similarity_term


def test_single_descent_takes_the_steps_of_the_first_candidate() -> None:
    profile = replace(PROFILE, box="paper", learning_rate=0.3, steps=5)
    descent = SingleDescent(tiny_generator(), random_metric(), face(), mask(), profile)
    whole = normalize(tiny_generator(), random_metric(), face(), mask(), profile, 3)
    torch.testing.assert_close(descent.run(seed=3).w, whole.w_norm[:1], rtol=0, atol=5e-3)
    with pytest.raises(ProfileError, match="method"):
        newton = Profile.from_card(tiny_generator().card.profiles["newton"])
        SingleDescent(tiny_generator(), random_metric(), face(), mask(), newton)


def test_strip_shows_the_iterates_asked_for() -> None:
    descent = SingleDescent(tiny_generator(), random_metric(), face(), mask(), PROFILE)
    seen: dict[int, torch.Tensor] = {}
    descent.run(0, watch=lambda step, w: seen.update({step: w}))
    assert list(seen) == list(range(9))
    assert torch.equal(seen[0], tiny_generator().w_avg[None])
    strip = iterate_strip(tiny_generator(), descent, (0, 3, 8, 100), 0, 64)
    assert [one.step for one in strip] == [0, 3, 8]
    for one in strip:
        with torch.no_grad():
            picture = tiny_generator().network.synthesis(seen[one.step])[0]
            similarity = descent.objective.terms(seen[one.step])[0].item()
        shown = (picture.clamp(-1, 1).permute(1, 2, 0).numpy() + 1) * 127.5
        assert np.abs(one.picture - shown).max() <= 0.51
        assert one.similarity_term == pytest.approx(similarity, rel=1e-5)
    assert strip[0].averageness_term == 0
