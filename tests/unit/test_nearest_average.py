"""A face is pulled to the average nearest to the person: which one that is, and what it changes."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.generator import Generator, load_generator
from models.generator_card import GeneratorError
from models.latent_averages import LatentAverages, averages_path
from models.latent_encoder import LatentEncoder
from pipeline.latents import Latents
from pipeline.nearest_average import nearest_averages, number_of_average
from pipeline.normalization import average_and_goal, normalize, normalize_batch
from pipeline.profile import Profile, ProfileError
from pipeline.single_descent import SingleDescent
from tests.tiny import TINY_GENERATOR, random_metric, tiny_generator
from tests.unit.test_latent_encoder import tensors
from tests.unit.test_normalize_batch import ADAM, NEWTON, faces

METHODS = pytest.mark.parametrize(
    "profile", [replace(NEWTON, average="nearest"), replace(ADAM, average="nearest")], ids=["newton", "adam"]
)


def generator_with(*w_averages: Tensor) -> Generator:
    """The tiny generator with an encoder whose answers differ from face to face."""
    values = tensors(seed=4)
    values["encoder.layers.1.weight"] *= 20
    return replace(
        tiny_generator(),
        encoder=LatentEncoder(values).eval(),
        averages=LatentAverages(torch.stack(w_averages)),
    )


def two_averages() -> Generator:
    """Averages on either side of what the encoder says of the first two faces."""
    pictures, masks = faces(2)
    plain = generator_with(tiny_generator().w_avg)
    _, (one, other) = average_and_goal(
        plain, random_metric(), pictures, masks, replace(ADAM, start="encoder")
    )
    apart = torch.stack([one + 0.3 * (one - other), other + 0.3 * (other - one)])
    return replace(plain, averages=LatentAverages(apart))


def assert_same(one: Latents, other: Latents) -> None:
    assert torch.equal(one.w_norm, other.w_norm)
    assert torch.equal(one.w_raw, other.w_raw)
    assert torch.equal(one.averageness, other.averageness)


def test_the_nearest_is_taken_for_each_face() -> None:
    averages = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    nearest = nearest_averages(LatentAverages(averages), torch.tensor([[3.0, 1.0], [0.5, 0.4], [1.0, 3.5]]))
    assert torch.equal(nearest, averages[[1, 0, 2]])


@METHODS
def test_the_only_average_is_everybodys(profile: Profile) -> None:
    pictures, masks = faces(1)
    generator = generator_with(tiny_generator().w_avg)
    arguments = random_metric(), pictures[0], masks[0]
    nearest = normalize(generator, *arguments, profile, 0)
    assert_same(nearest, normalize(generator, *arguments, replace(profile, average="population"), 0))


@METHODS
def test_a_face_is_normalized_as_if_its_average_were_the_only_one(profile: Profile) -> None:
    pictures, masks = faces(2)
    generator, metric = two_averages(), random_metric()
    assert generator.averages is not None
    for n in range(2):
        alone = replace(generator, w_avg=generator.averages.w[n])
        expected = normalize(alone, metric, pictures[n], masks[n], replace(profile, average="population"), 0)
        assert_same(normalize(generator, metric, pictures[n], masks[n], profile, 0), expected)


@METHODS
def test_faces_of_a_batch_keep_their_own_averages(profile: Profile) -> None:
    pictures, masks = faces(2)
    masks = masks[:1].expand(2, -1, -1)  # one window for both, alone and together
    generator, metric, strong = two_averages(), random_metric(), replace(profile, lambda_avg=1e4)
    assert generator.averages is not None
    found = normalize_batch(generator, metric, pictures, masks, strong, 0)
    for latents, own, other in zip(found, generator.averages.w, generator.averages.w.flip(0), strict=True):
        assert (latents.w_norm[0] - own).norm() < 0.5 * (latents.w_norm[0] - other).norm()


@METHODS
def test_which_average_a_face_was_pulled_to_is_told(profile: Profile) -> None:
    pictures, masks = faces(2)
    generator, everybodys = two_averages(), replace(profile, average="population")
    found = normalize_batch(generator, random_metric(), pictures, masks, profile, 0)
    assert [number_of_average(generator, profile, one.average) for one in found] == [1, 2]
    assert number_of_average(generator, everybodys, found[0].average) is None


def test_the_single_descent_is_pulled_to_it_too() -> None:
    pictures, masks = faces(2)
    profile = replace(ADAM, average="nearest", lambda_avg=100.0, steps=30)
    generator = two_averages()
    assert generator.averages is not None
    w = SingleDescent(generator, random_metric(), pictures[1], masks[1], profile).run(0).w[0]
    assert (w - generator.averages.w[1]).norm() < (w - generator.averages.w[0]).norm()


@pytest.mark.parametrize("lacks", ["averages", "encoder"])
def test_a_generator_without_what_it_takes_is_refused(lacks: str) -> None:
    pictures, masks = faces(1)
    generator = replace(two_averages(), **{lacks: None})
    with pytest.raises(ProfileError, match=f"has no {lacks}; use 'population'"):
        normalize(generator, random_metric(), pictures[0], masks[0], replace(NEWTON, average="nearest"), 0)


def test_an_unknown_average_is_refused() -> None:
    with pytest.raises(ProfileError, match="average must be 'population' or 'nearest'"):
        replace(NEWTON, average="none")


def copied(folder: Path) -> Path:
    """The tiny generator's weights and card, for something to lie beside them."""
    shutil.copy(TINY_GENERATOR.with_suffix(".json"), folder)
    return Path(shutil.copy(TINY_GENERATOR, folder))


def test_averages_lie_beside_the_weights_and_leave_what_was_fitted_on_those_valid(tmp_path: Path) -> None:
    weights = copied(tmp_path)
    without = load_generator(str(weights), torch.device("cpu"))
    averages = torch.stack([without.w_avg, without.w_avg + 1])
    save_file({"w_averages": averages}, averages_path(weights))
    found = load_generator(str(weights), torch.device("cpu"))
    assert without.averages is None
    assert found.averages is not None
    assert torch.equal(found.averages.w, averages)
    assert found.averages.sha256 == hashlib.sha256(averages_path(weights).read_bytes()).hexdigest()
    assert found.sha256 == without.sha256


@pytest.mark.parametrize("tensors", [{"others": torch.zeros(2, 32)}, {"w_averages": torch.zeros(32)}])
def test_a_file_that_holds_no_averages_is_refused(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    weights = copied(tmp_path)
    save_file(tensors, averages_path(weights))
    with pytest.raises(GeneratorError, match="find them anew"):
        load_generator(str(weights), torch.device("cpu"))


def test_a_setup_names_its_averages_where_the_score_depends_on_them() -> None:
    nearest, population = replace(NEWTON, average="nearest"), NEWTON
    assert nearest.as_dict()["average"] == "nearest"
    assert "average" not in population.as_dict(), "scores from before are of the same setup"
    assert Profile.from_card(population.as_dict()) == population
