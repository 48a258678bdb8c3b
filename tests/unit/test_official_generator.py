"""A network file as `scoring.generator`: statistics kept once, a card of its own, no score uncalibrated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from dicom_node.cli import app
from models.generator import Generator, load_generator
from models.generator_card import GeneratorError
from models.latent_statistics import kept_statistics
from models.regressor import RegressorError
from pipeline.measuring import measured_features
from pipeline.normalization import normalize
from pipeline.profile import Profile
from pipeline.scoring import build_scorer
from tests.official import NVIDIA_FILE, reference
from tests.tiny import TINY_GENERATOR, random_metric

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACENORM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def generator(cache: Path) -> Generator:
    return load_generator(str(NVIDIA_FILE), CPU)


def test_statistics_describe_the_networks_latents(generator: Generator) -> None:
    z = torch.randn(20_000, 32, generator=torch.Generator().manual_seed(5))
    w = generator.network.mapping(z)
    torch.testing.assert_close(generator.w_avg, reference()["w_avg"])  # the file's own
    torch.testing.assert_close(w.std(0), generator.w_std, rtol=0.05, atol=0)
    outside = ((w < generator.w_low) | (w > generator.w_high)).float().mean()
    assert 0.0003 < outside < 0.003
    assert generator.covariance is not None
    torch.testing.assert_close(
        torch.from_numpy(generator.covariance.matrix).float(), torch.cov(w.T), rtol=0.1, atol=0.02
    )
    assert "d_wmahalanobis" in measured_features(generator)


def test_statistics_are_computed_once(generator: Generator, cache: Path) -> None:
    (kept,) = (cache / "latent-statistics").iterdir()
    told: list[str] = []
    kept_statistics(generator.network, generator.sha256, kept.parent, told.append)
    assert told == []
    kept.write_bytes(b"damaged")
    again = kept_statistics(generator.network, generator.sha256, kept.parent, told.append)
    assert len(told) == 1
    torch.testing.assert_close(again.tensors["w_std"], generator.w_std)
    assert kept.stat().st_size > 1000


def test_every_profile_of_its_card_is_one(generator: Generator) -> None:
    assert generator.name == NVIDIA_FILE.stem
    assert {"fast", "reference", "paper"} == set(generator.card.profiles)
    for values in generator.card.profiles.values():
        profile = Profile.from_card(values)
        assert profile.method == "adam"
        assert profile.start == "average"
    assert "non-commercial" in generator.card.licence


def test_card_beside_the_file_takes_its_place(cache: Path, tmp_path: Path) -> None:
    weights = tmp_path / "own.pkl"
    weights.write_bytes(NVIDIA_FILE.read_bytes())
    card = json.loads(TINY_GENERATOR.with_suffix(".json").read_text())
    weights.with_suffix(".json").write_text(json.dumps(card | {"name": "own-network"}))
    assert load_generator(str(weights), CPU).name == "own-network"
    weights.with_suffix(".json").write_text("{")
    with pytest.raises(GeneratorError, match="card"):
        load_generator(str(weights), CPU)


def test_its_own_face_is_found_again(generator: Generator) -> None:
    """A normalization on such a network comes near a face that the network drew."""
    w = generator.w_avg + 0.5 * generator.w_std * torch.randn(
        1, 32, generator=torch.Generator().manual_seed(2)
    )
    face, mask = generator.network.synthesis(w)[0].clamp(-1, 1), torch.ones(32, 32)
    profile = replace(Profile.from_card(generator.card.profiles["fast"]), candidates=1, lambda_avg=0.1)
    with torch.no_grad():
        average = generator.network.synthesis(generator.w_avg[None])[0].clamp(-1, 1)
    found = normalize(generator, random_metric(), face, mask, profile, seed=0)
    with torch.no_grad():
        drawn = generator.network.synthesis(found.w_norm)[0].clamp(-1, 1)
    assert (drawn - face).abs().mean() < 0.5 * (average - face).abs().mean()


def test_without_a_regressor_of_its_own_nothing_is_scored(cache: Path) -> None:
    with pytest.raises(RegressorError, match="facenorm calibrate"):
        build_scorer(str(NVIDIA_FILE), "fast", "cpu")


def test_refused_file_says_why(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "network.pkl"
    path.write_bytes(b"cos\nsystem\n.")
    with pytest.raises(GeneratorError, match=r"network\.pkl cannot be used: .*os\.system"):
        load_generator(str(path), CPU)


def test_command_explains_sources_and_licences() -> None:
    said = CliRunner().invoke(app, ["models", "official"]).output
    for word in (
        "stylegan2-ada-pytorch",
        "stylegan3",
        "rosinality",
        "Source Code License",
        "CC BY-NC-SA 4.0",
    ):
        assert word in said


def test_command_checks_a_local_file(cache: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["models", "official", str(NVIDIA_FILE)])
    assert found.exit_code == 0
    assert "32 px" in found.output
    assert load_generator(str(NVIDIA_FILE), CPU).sha256 in found.output
    hostile = tmp_path / "hostile.pkl"
    hostile.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    refused = CliRunner().invoke(app, ["models", "official", str(hostile)])
    assert refused.exit_code == 1
    assert "os.system" in refused.output
    assert CliRunner().invoke(app, ["models", "official", str(TINY_GENERATOR)]).exit_code == 1
