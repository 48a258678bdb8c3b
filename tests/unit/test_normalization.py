"""The optimisation on the tiny generator: what it keeps, repeats, and never leaves."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.catalog import GENERATOR
from pipeline.latents import Latents
from pipeline.normalization import normalize
from pipeline.objective import Objective, resized
from pipeline.profile import Profile, ProfileError
from tests.real_weights import real_generator
from tests.tiny import latents, random_metric, tiny_generator

PROFILE = Profile(
    steps=8,
    learning_rate=0.1,
    metric_resolution=64,
    lambda_sim=10.0,
    lambda_avg=0.1,
    candidates=3,
    start_spread=0.5,
)


def face(seed: int = 1) -> Tensor:
    """A picture that the tiny generator does not draw exactly: another of its own, inverted in a corner."""
    picture = tiny_generator().network.synthesis(latents(1, seed=seed))[0].clamp(-1, 1)
    picture[:, 20:40, 20:40] *= -1
    return picture


def mask() -> Tensor:
    inside = torch.zeros(64, 64)
    inside[8:56, 8:56] = 1
    return inside


def found(profile: Profile = PROFILE, seed: int = 0, picture: Tensor | None = None) -> Latents:
    return normalize(
        tiny_generator(), random_metric(), face() if picture is None else picture, mask(), profile, seed
    )


def objective(picture: Tensor | None = None, side: int = 64) -> Objective:
    return Objective(tiny_generator(), random_metric(), face() if picture is None else picture, mask(), side)


def total(w: Tensor, lambda_avg: float) -> Tensor:
    similarity, averageness = objective().terms(w)
    return 10.0 * similarity + lambda_avg * averageness


def test_shapes() -> None:
    answer = found()
    assert answer.w_norm.shape == (3, 32)
    assert answer.w_raw.shape == (32,)
    assert not answer.w_norm.requires_grad


def test_recorded_terms_are_those_of_the_kept_latents() -> None:
    answer = found()
    similarity, averageness = objective().terms(torch.cat([answer.w_norm, answer.w_raw[None]]))
    torch.testing.assert_close(answer.similarity, similarity, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(answer.averageness, averageness, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("learning_rate", [0.02, 0.1, 3.0])
def test_objective_never_ends_above_its_start(learning_rate: float) -> None:
    """With a rate far too high every step makes it worse; then the start itself is kept."""
    answer = found(replace(PROFILE, learning_rate=learning_rate, start_spread=0.0))
    w_avg = tiny_generator().w_avg[None]
    assert (total(answer.w_norm, 0.1) <= total(w_avg, 0.1) + 1e-5).all()
    assert (total(answer.w_raw[None], 0.0) <= total(w_avg, 0.0) + 1e-5).all()
    if learning_rate < 1:
        assert (total(answer.w_norm, 0.1) < 0.9 * total(w_avg, 0.1)).all()


def test_more_steps_never_end_worse() -> None:
    """Same course, stopped later: the best of more iterates."""
    totals = [
        total(found(replace(PROFILE, steps=steps, start_spread=0.0)).w_norm[:1], 0.1).item()
        for steps in (1, 4, 12)
    ]
    assert totals == sorted(totals, reverse=True)
    assert totals[0] > totals[-1]


def test_same_seed_same_answer_another_seed_another() -> None:
    one, again, other = found(seed=5), found(seed=5), found(seed=6)
    assert torch.equal(one.w_norm, again.w_norm)
    assert torch.equal(one.w_raw, again.w_raw)
    # The first candidate starts without noise; the others are independent starts.
    assert (one.w_norm[1:] - other.w_norm[1:]).abs().max() > 0.01


def test_seed_of_the_process_does_not_matter() -> None:
    torch.manual_seed(1)
    one = found()
    torch.manual_seed(2)
    assert torch.equal(one.w_norm, found().w_norm)


@pytest.mark.parametrize("box", ["statistics", "paper"])
def test_candidate_does_not_depend_on_the_others(box: str) -> None:
    profile = replace(PROFILE, box=box, steps=6)
    few, many = found(replace(profile, candidates=2)), found(replace(profile, candidates=4))
    torch.testing.assert_close(few.w_norm[:2], many.w_norm[:2], rtol=0, atol=1e-3)
    torch.testing.assert_close(few.w_raw, many.w_raw, rtol=0, atol=1e-3)


def test_candidates_are_independent_starts() -> None:
    answer = found()
    for row in (0, 1):
        assert (answer.w_norm[row] - answer.w_norm[row + 1]).abs().max() > 0.05


def test_components_stay_in_the_generators_box() -> None:
    """In a box narrower than a step every step leaves it."""
    w_avg = tiny_generator().w_avg
    narrow = replace(tiny_generator(), w_low=w_avg - 0.08, w_high=w_avg + 0.05)
    profile = replace(PROFILE, start_spread=0.0, steps=12, lambda_avg=0.0)
    answer = normalize(narrow, random_metric(), face(), mask(), profile, 0)
    w = torch.cat([answer.w_norm, answer.w_raw[None]])
    assert (w != w_avg).all(1).any(), "nothing but the start was kept, which says nothing about the box"
    assert (w >= narrow.w_low).all()
    assert (w <= narrow.w_high).all()


def test_components_stay_in_the_papers_box() -> None:
    profile = replace(PROFILE, learning_rate=2.0, box="paper", start_spread=0.0, steps=12, lambda_avg=0.0)
    answer = found(profile)
    w = torch.cat([answer.w_norm, answer.w_raw[None]])
    moved = (w != tiny_generator().w_avg).all(1)
    assert moved.any(), "nothing but the start was kept, which says nothing about the box"
    assert w[moved].abs().max() <= 1


def test_stronger_pull_ends_nearer_to_the_average() -> None:
    profile = replace(PROFILE, steps=25, candidates=1)
    distances = [
        found(replace(profile, lambda_avg=weight)).averageness[0].item() for weight in (0.0, 0.3, 3.0, 100.0)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 1.2 * distances[2]
    assert distances[-1] < 1e-3


def test_raw_inversion_is_not_pulled() -> None:
    profile = replace(PROFILE, lambda_avg=100.0, steps=15, start_spread=0.0)
    pulled, free = found(profile), found(replace(profile, lambda_avg=0.0))
    torch.testing.assert_close(pulled.w_raw, free.w_raw, rtol=0, atol=1e-3)
    assert (pulled.w_raw - tiny_generator().w_avg).abs().mean() > 0.02


def test_face_that_the_generator_can_draw_is_found() -> None:
    drawn = tiny_generator().network.synthesis(latents(1, seed=3))[0]
    profile = replace(PROFILE, steps=150, candidates=1, lambda_avg=0.0, ramp_down=0.5)
    answer = found(profile, picture=drawn)
    start = objective(drawn).terms(tiny_generator().w_avg[None])[0].item()
    assert answer.similarity.max() < 0.01 * start


def test_picture_outside_the_mask_does_not_matter() -> None:
    picture = face()
    other = torch.where(mask() > 0, picture, torch.rand(3, 64, 64))
    assert torch.equal(found(picture=picture).w_norm, found(picture=other).w_norm)


def test_larger_photographs_are_compared_at_the_metrics_resolution() -> None:
    w, picture = latents(2), face()
    enlarged = picture.repeat_interleave(4, -1).repeat_interleave(4, -2)
    large_mask = mask().repeat_interleave(4, -1).repeat_interleave(4, -2)
    large = Objective(tiny_generator(), random_metric(), enlarged, large_mask, 64)
    torch.testing.assert_close(large.terms(w), objective(picture).terms(w))


def test_averageness_is_the_mean_absolute_error() -> None:
    w = latents(3)
    _, averageness = objective().terms(w)
    expected = [float(sum(abs(row - tiny_generator().w_avg)) / 32) for row in w]
    assert averageness.tolist() == pytest.approx(expected, rel=1e-5)


def test_progress_is_told_step_by_step() -> None:
    told: list[tuple[int, int]] = []
    normalize(
        tiny_generator(),
        random_metric(),
        face(),
        mask(),
        PROFILE,
        0,
        lambda done, of: told.append((done, of)),
    )
    assert told == [(n, 8) for n in range(1, 9)]


def test_encoder_is_asked_for_only_where_there_is_one() -> None:
    assert tiny_generator().encoder is None
    with pytest.raises(ProfileError, match="encoder"):
        found(replace(PROFILE, start="encoder"))


def test_resizing_keeps_the_mean() -> None:
    pictures = torch.rand(1, 3, 64, 64)
    assert resized(pictures, 64) is pictures
    for side in (32, 16):
        small = resized(pictures, side)
        assert small.shape == (1, 3, side, side)
        torch.testing.assert_close(small.mean(), pictures.mean())
    assert resized(pictures, 128).shape == (1, 3, 128, 128)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", 0),
        ("steps", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("metric_resolution", 0),
        ("lambda_sim", 0.0),
        ("candidates", 0),
        ("lambda_avg", -1.0),
        ("start_spread", -0.1),
        ("start", "anywhere"),
        ("box", "none"),
    ],
)
def test_impossible_profiles_name_the_key(key: str, value: object) -> None:
    values = PROFILE.as_dict() | {key: value}
    with pytest.raises(ProfileError, match=key):
        Profile.from_card(values)


@pytest.mark.parametrize("key", ["steps", "learning_rate", "metric_resolution", "lambda_sim", "lambda_avg"])
def test_missing_and_unknown_keys_are_named(key: str) -> None:
    values = PROFILE.as_dict()
    del values[key]
    with pytest.raises(ProfileError, match=key):
        Profile.from_card(values)
    with pytest.raises(ProfileError, match="lambda_typo"):
        Profile.from_card(PROFILE.as_dict() | {"lambda_typo": 1.0})


@pytest.mark.parametrize("key", ["steps", "learning_rate", "candidates", "lambda_avg"])
def test_values_of_a_wrong_kind_name_the_key(key: str) -> None:
    with pytest.raises(ProfileError, match=key):
        Profile.from_card(PROFILE.as_dict() | {key: "many"})


@pytest.mark.parametrize("key", ["steps", "metric_resolution", "candidates"])
def test_counts_are_whole_numbers(key: str) -> None:
    with pytest.raises(ProfileError, match=key):
        Profile.from_card(PROFILE.as_dict() | {key: 2.5})


def test_profile_survives_its_card() -> None:
    assert Profile.from_card(PROFILE.as_dict()) == PROFILE


def test_profiles_of_the_tiny_card_are_sound() -> None:
    for values in tiny_generator().card.profiles.values():
        Profile.from_card(values)


@pytest.mark.real_weights
def test_profiles_of_the_default_card_are_sound() -> None:
    generator = real_generator()
    assert generator.name == GENERATOR
    for values in generator.card.profiles.values():
        profile = Profile.from_card(values)
        assert profile.start == "average" or generator.encoder is not None
