"""Newton steps: the model's exact minimum, no step that makes it worse, fewer steps than Adam."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from pipeline.latents import Latents
from pipeline.normalization import normalize
from pipeline.objective import Objective
from pipeline.profile import Profile, ProfileError
from pipeline.proximal_newton import NewtonState, minimised_model, newton
from pipeline.shared_objective import SharedObjective
from tests.tiny import latents, random_metric, tiny_generator

NEWTON = Profile(
    steps=6,
    metric_resolution=64,
    lambda_sim=10.0,
    lambda_avg=0.1,
    candidates=3,
    start_spread=0.5,
    method="newton",
    candidate_steps=2,
    full_steps=3,
    raw_steps=2,
)


def face() -> Tensor:
    picture = tiny_generator().network.synthesis(latents(1, seed=1))[0].clamp(-1, 1)
    picture[:, 20:40, 20:40] *= -1
    return picture


def mask() -> Tensor:
    inside = torch.zeros(64, 64)
    inside[8:56, 8:56] = 1
    return inside


def found(profile: Profile = NEWTON, seed: int = 0) -> Latents:
    return normalize(tiny_generator(), random_metric(), face(), mask(), profile, seed)


def objective() -> Objective:
    return Objective(tiny_generator(), random_metric(), face(), mask(), 64)


def shared() -> SharedObjective:
    return SharedObjective(tiny_generator(), random_metric(), face()[None], mask()[None], 64)


def totals(answer: Latents, lambda_avg: float) -> tuple[float, float]:
    similarity, averageness = objective().terms(torch.stack([answer.w_norm[0], answer.w_raw]))
    return float(10 * similarity[0] + lambda_avg * averageness[0]), float(10 * similarity[1])


def random_model(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    root = torch.randn(12, 12, generator=random)
    curvature = root @ root.T / 12 + 0.1 * torch.eye(12)
    w, gradient, centre = (torch.randn(12, generator=random) for _ in range(3))
    return w, gradient, curvature, centre


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_model_is_minimised_inside_the_box(seed: int) -> None:
    """Against scipy's bounded solver, with the absolute value split into its two sides."""
    w, gradient, curvature, centre = random_model(seed)
    low, high, pull = centre - 1.0, centre + 0.8, 0.3
    v = minimised_model(w[None], gradient[None], curvature[None], torch.tensor([pull]), centre, low, high)[0]

    def value(at: Tensor) -> float:
        step = at - w
        return float(gradient @ step + 0.5 * step @ curvature @ step + pull * (at - centre).abs().sum())

    def split(sides: object) -> tuple[float, object]:
        up, down = torch.as_tensor(sides, dtype=torch.float32).split(12)
        at = centre + up - down
        slope = gradient + curvature @ (at - w)
        total = float(gradient @ (at - w) + 0.5 * (at - w) @ curvature @ (at - w) + pull * (up + down).sum())
        return total, torch.cat([slope + pull, pull - slope]).double().numpy()

    bounds = [(0.0, 0.8)] * 12 + [(0.0, 1.0)] * 12
    best = minimize(split, torch.zeros(24).numpy(), jac=True, bounds=bounds, method="L-BFGS-B")
    assert value(v) == pytest.approx(best.fun, abs=2e-3)
    assert ((v >= low - 1e-6) & (v <= high + 1e-6)).all()


def test_strong_pull_leaves_components_exactly_at_the_centre() -> None:
    w, gradient, curvature, centre = random_model(4)
    wide = torch.full((12,), 10.0)
    v = minimised_model(
        w[None], gradient[None], curvature[None], torch.tensor([100.0]), centre, centre - wide, centre + wide
    )
    assert torch.equal(v[0], centre)


def test_every_step_is_at_least_as_good_as_the_last() -> None:
    generator = tiny_generator()
    assert generator.curvature is not None
    state = NewtonState.at(generator.w_avg[None], 20 * generator.curvature)
    pull, told, best = torch.tensor([0.1]), [], float("inf")
    for _ in range(6):
        state, at = newton(shared(), state, 10.0, pull, 1, lambda: told.append(1))
        total = float(10 * at.similarity + 0.1 * at.averageness)
        assert total <= best + 1e-6
        best = total
    start = objective().terms(generator.w_avg[None])[0]
    assert best < 0.8 * float(10 * start)
    assert len(told) == 6


def test_what_is_known_is_not_asked_again_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny_generator()
    assert generator.curvature is not None
    goal, pull = shared(), torch.tensor([0.1])
    begin = NewtonState.at(generator.w_avg[None], 20 * generator.curvature)
    asked = counted(goal, monkeypatch)
    state, _ = newton(goal, begin, 10.0, pull, 2, lambda: None)
    assert asked == [True] * 3  # where it begins, and after each step
    asked.clear()
    known, let_go = (
        newton(goal, replace(state, known=kept), 10.0, 0 * pull, 2, lambda: None)[1]
        for kept in (state.known, None)
    )
    assert asked == [True] * 2 + [True] * 3
    assert torch.equal(known.w, let_go.w)
    assert torch.equal(known.similarity, let_go.similarity)
    other = shared()
    asked = counted(other, monkeypatch)
    newton(other, state, 10.0, pull, 1, lambda: None)
    assert asked == [True] * 2, "what one objective says is not what another one does"


def test_the_last_step_learns_nothing_that_nobody_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny_generator()
    assert generator.curvature is not None
    goal, pull = shared(), torch.tensor([0.1])
    begin = NewtonState.at(generator.w_avg[None], 20 * generator.curvature)
    going_on = newton(goal, begin, 10.0, pull, 3, lambda: None)[1]
    asked = counted(goal, monkeypatch)
    state, ended = newton(goal, begin, 10.0, pull, 3, lambda: None, ends=True)
    assert asked == [True, True, True, False]
    assert torch.equal(ended.w, going_on.w)
    assert torch.equal(ended.similarity, going_on.similarity)
    assert state.known is None


def counted(goal: SharedObjective, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list that gets, for each time that the objective is asked, whether for a gradient."""
    asked, terms = [], goal.comparison.terms

    def asking(w: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(w.requires_grad)
        return terms(w, *inputs)

    # The objective and its comparison never change, so the class is told who asks.
    monkeypatch.setattr(type(goal.comparison), "terms", lambda _self, w, *inputs: asking(w, *inputs))
    return asked


def test_reaches_in_nine_steps_what_adam_does_not_in_thirty() -> None:
    adam = replace(NEWTON, method="adam", steps=30, learning_rate=0.03, candidates=1, start_spread=0.0)
    by_adam = totals(found(adam), 0.1)
    by_newton = totals(found(replace(NEWTON, candidates=1)), 0.1)
    assert by_newton[0] < by_adam[0]
    assert by_newton[1] < by_adam[1]


def test_raw_inversion_is_the_normalization_let_go() -> None:
    """Nearer to the photograph than the normalization is, and not nearer to the average for it."""
    answer = found(replace(NEWTON, lambda_avg=3.0, candidates=1))
    assert answer.similarity[-1] < answer.similarity[0]
    assert answer.averageness[-1] > answer.averageness[0]
    beside = (answer.w_raw - answer.w_norm[0]).norm()
    assert beside < (answer.w_raw - tiny_generator().w_avg).norm()


@pytest.mark.parametrize(("raw_steps", "words"), [(0, "above zero"), (4, "cannot be more")])
def test_raw_steps_are_some_of_the_last(raw_steps: int, words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        replace(NEWTON, raw_steps=raw_steps)


def test_recorded_terms_are_those_of_the_first_candidate_and_the_raw_inversion() -> None:
    answer = found()
    similarity, averageness = objective().terms(torch.cat([answer.w_norm[:1], answer.w_raw[None]]))
    torch.testing.assert_close(answer.similarity, similarity, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(answer.averageness, averageness, rtol=1e-4, atol=1e-6)


def test_seed_decides_and_candidates_do_not_depend_on_their_number() -> None:
    one, again, other = found(seed=5), found(seed=5), found(seed=6)
    assert torch.equal(one.w_norm, again.w_norm)
    assert torch.equal(one.w_norm[0], other.w_norm[0])
    assert (one.w_norm[1:] - other.w_norm[1:]).abs().max() > 0.01
    many = found(replace(NEWTON, candidates=4), seed=5)
    torch.testing.assert_close(many.w_norm[:3], one.w_norm, rtol=0, atol=1e-3)
    assert found(replace(NEWTON, candidates=1)).w_norm.shape == (1, 32)


def test_latents_stay_in_the_box() -> None:
    w_avg = tiny_generator().w_avg
    narrow = replace(tiny_generator(), w_low=w_avg - 0.08, w_high=w_avg + 0.05)
    answer = normalize(narrow, random_metric(), face(), mask(), NEWTON, 0)
    w = torch.cat([answer.w_norm, answer.w_raw[None]])
    assert ((w >= narrow.w_low - 1e-6) & (w <= narrow.w_high + 1e-6)).all()
    assert (w != w_avg).any()


def test_progress_counts_all_steps() -> None:
    told: list[tuple[int, int]] = []
    normalize(
        tiny_generator(),
        random_metric(),
        face(),
        mask(),
        NEWTON,
        0,
        lambda done, of: told.append((done, of)),
    )
    assert told == [(n, 11) for n in range(1, 12)]


def test_generator_without_a_curvature_says_so() -> None:
    with pytest.raises(ProfileError, match="curvature"):
        normalize(replace(tiny_generator(), curvature=None), random_metric(), face(), mask(), NEWTON, 0)
