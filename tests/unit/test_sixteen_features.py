"""The paper's sixteen features against their definitions, written out in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.latent_covariance import LatentCovariance
from pipeline.features import FeatureExtractor
from pipeline.latent_distances import latent_distances
from pipeline.picture_distances import picture_distances
from pipeline.result import FURTHER_FEATURES, Features
from tests.tiny import random_metric
from tests.unit.test_features import disc, latent, picture

RANDOM = np.random.default_rng(4)
U, V = RANDOM.normal(0.1, 0.5, (2, 32))
ROOT = RANDOM.normal(size=(32, 32))
COVARIANCE = LatentCovariance.of(ROOT @ ROOT.T / 32 + 0.1 * np.eye(32))


def expected_latent() -> dict[str, float]:
    d = np.abs(U - V)
    whitened = np.linalg.solve(np.linalg.cholesky(COVARIANCE.matrix), U - V)
    angle = math.acos(sum(U * V) / math.sqrt(sum(U**2) * sum(V**2)))
    return {
        "d_wbc": d.sum() / np.abs(U + V).sum(),
        "d_wcorr": 1 - np.corrcoef(U, V)[0, 1],
        "d_wcanberra": sum(abs(a - b) / (abs(a) + abs(b)) for a, b in zip(U, V, strict=True)),
        "d_wchebyshev": max(d),
        "d_wmanhattan": sum(d),
        "d_wcosine": 1 - math.cos(angle),
        "d_weuclidean": math.hypot(*(U - V)),
        "d_wmahalanobis": np.linalg.norm(whitened),
        "d_wminkowski": np.cbrt(sum(d**3)),
    }


@pytest.mark.parametrize("name", expected_latent())
def test_distance_of_latents(name: str) -> None:
    found = latent_distances(U, V, COVARIANCE)
    assert found.keys() == expected_latent().keys()
    assert found[name] == pytest.approx(expected_latent()[name], rel=1e-9)


def test_mahalanobis_counts_standard_deviations() -> None:
    """Two components, of variance 4 and 9: one standard deviation in each is sqrt(2) away."""
    covariance = LatentCovariance.of(np.diag([4.0, 9.0]))
    found = latent_distances(np.array([3.0, 5.0]), np.array([1.0, 2.0]), covariance)
    assert found["d_wmahalanobis"] == pytest.approx(math.sqrt(2))
    assert "d_wmahalanobis" not in latent_distances(U, V)


def test_distances_of_pictures_are_taken_over_the_mask_in_shares_of_the_range() -> None:
    raw, drawn, mask = picture(1), picture(2), disc()
    (found,) = picture_distances((drawn * mask)[None], (raw * mask)[None], mask[None, None])
    inside = mask.numpy() > 0
    to_unit = [(p.double().numpy()[:, inside] + 1) / 2 for p in (raw, drawn)]
    e = (to_unit[0] - to_unit[1]).ravel()
    expected = {
        "d_xpsnr": 10 * np.log10(1 / np.mean(e**2)),
        "d_xmae": np.mean(np.abs(e)),
        "d_xmse": np.var(e) + np.mean(e) ** 2,
        "d_xrmse": np.linalg.norm(e) / np.sqrt(e.size),
        "d_xlogcosh": np.mean(np.logaddexp(e, -e) - np.log(2)),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4), name
    assert found["d_xlogcosh"] < found["d_xmse"] / 2 < found["d_xmae"]


def test_all_sixteen_come_from_the_extractor() -> None:
    raw, mask = picture(1), disc()
    extractor = FeatureExtractor(random_metric(), raw[None], mask[None], COVARIANCE)
    pictures, w = torch.stack([picture(2), picture(3)]), torch.stack([latent(2), latent(3)])
    five, further = extractor.compare(pictures, latent(1)[None], w)
    assert len({*Features.names(), *FURTHER_FEATURES}) == 16
    for k in range(2):
        assert tuple(further[k]) == FURTHER_FEATURES
        pair = [p.double().numpy() for p in (latent(1), w[k])]
        assert further[k]["d_wmanhattan"] == pytest.approx(np.abs(pair[0] - pair[1]).sum())
        assert five[k].d_xpsnr == pytest.approx(-20 * math.log10(further[k]["d_xrmse"]), rel=1e-5)
    assert further[0] != further[1]


def test_without_a_covariance_there_is_no_mahalanobis_distance() -> None:
    extractor = FeatureExtractor(random_metric(), picture(1)[None], disc()[None])
    _, (further,) = extractor.compare(picture(2)[None], latent(1)[None], latent(2)[None])
    assert set(FURTHER_FEATURES) - further.keys() == {"d_wmahalanobis"}


def test_equal_faces_are_at_no_distance() -> None:
    extractor = FeatureExtractor(random_metric(), picture(3)[None], disc()[None], COVARIANCE)
    _, (further,) = extractor.compare(picture(3)[None], latent(4)[None], latent(4)[None])
    assert further == pytest.approx(dict.fromkeys(FURTHER_FEATURES, 0.0), abs=1e-12)
