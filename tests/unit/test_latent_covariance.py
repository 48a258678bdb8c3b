"""The covariance of w: the mapping's own, kept beside the weights, no part of their sha256."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from models.generator import load_generator
from models.generator_card import GeneratorError
from models.latent_covariance import (
    COVARIANCE_KEY,
    CovarianceError,
    LatentCovariance,
    covariance_path,
    latent_covariance,
)
from tests.real_weights import real_generator
from tests.tiny import TINY_GENERATOR, latents, tiny_generator

CPU = torch.device("cpu")


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """The tiny generator in a folder of its own, without a covariance."""
    for suffix in (".safetensors", ".json"):
        shutil.copy(TINY_GENERATOR.with_suffix(suffix), tmp_path)
    return tmp_path / TINY_GENERATOR.name


def test_estimate_is_that_of_numpy_on_other_draws() -> None:
    found = latent_covariance(tiny_generator().network, samples=20_000, seed=3)
    expected = np.cov(latents(20_000, seed=99).double().numpy(), rowvar=False)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    # 20,000 draws on either side: three standard errors are 0.03 of the scale.
    assert np.abs(found - expected).max() < 0.045 * scale.max()
    np.testing.assert_allclose(np.diag(found), np.diag(expected), rtol=0.06)
    assert np.array_equal(found, latent_covariance(tiny_generator().network, samples=20_000, seed=3))


def test_the_shipped_ones_are_those_of_their_generators() -> None:
    covariance = tiny_generator().covariance
    assert covariance is not None
    np.testing.assert_allclose(
        covariance.matrix, latent_covariance(tiny_generator().network, 20_000), rtol=1e-5, atol=1e-6
    )


@pytest.mark.real_weights
def test_the_shipped_covariance_fits_the_default_generator() -> None:
    generator = real_generator()
    assert generator.covariance is not None
    assert generator.covariance.matrix.shape == (512, 512)
    # w_std comes from another set of draws.
    np.testing.assert_allclose(
        np.sqrt(np.diag(generator.covariance.matrix)), generator.w_std.numpy(), rtol=0.02
    )
    np.testing.assert_allclose(
        generator.covariance.inverse @ generator.covariance.matrix, np.eye(512), atol=1e-8
    )


def test_pictures_and_digest_do_not_depend_on_it(moved: Path) -> None:
    without = load_generator(str(moved), CPU)
    assert without.covariance is None
    shutil.copy(covariance_path(TINY_GENERATOR), covariance_path(moved))
    with_it = load_generator(str(moved), CPU)
    assert with_it.covariance is not None
    assert with_it.sha256 == without.sha256 == tiny_generator().sha256
    digest = hashlib.sha256(covariance_path(moved).read_bytes()).hexdigest()
    assert with_it.covariance.sha256 == digest


@pytest.mark.parametrize(
    "tensors",
    [
        {"other": np.eye(3)},
        {COVARIANCE_KEY: np.ones((2, 3))},
        {COVARIANCE_KEY: -np.eye(3)},
        {COVARIANCE_KEY: np.array([[1.0, 0.5], [0.0, 1.0]])},
    ],
)
def test_wrong_file_is_refused_by_name(moved: Path, tensors: dict[str, np.ndarray]) -> None:
    save_file(tensors, covariance_path(moved))
    with pytest.raises(GeneratorError, match="covariance"):
        load_generator(str(moved), CPU)


def test_damaged_file_is_refused(moved: Path) -> None:
    covariance_path(moved).write_bytes(b"nothing of the kind")
    with pytest.raises(GeneratorError, match="covariance"):
        load_generator(str(moved), CPU)


def test_singular_matrix_is_refused() -> None:
    with pytest.raises(CovarianceError, match="positive definite"):
        LatentCovariance.of(np.ones((3, 3)))
