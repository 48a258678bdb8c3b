"""Faces measured together, as a GPU does: each as if it were alone, candidate by candidate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.anomaly_ensemble import AnomalyEnsemble, LoadedAnomalyNetwork
from models.anomaly_network import AnomalyNetwork
from models.generator import Generator
from pipeline.compared_candidates import Measurement, compare_candidates
from pipeline.latents import Latents
from tests.real_weights import real_metric
from tests.tiny import latents, tiny_generator

pytestmark = pytest.mark.real_weights
FACES, CANDIDATES, SIDE = 3, 2, 64


def judging_generator() -> Generator:
    """The tiny generator with an anomaly network of random weights."""
    torch.manual_seed(5)
    network = AnomalyEnsemble([AnomalyNetwork(24)]).eval().requires_grad_(False)
    return replace(tiny_generator(), anomaly_network=LoadedAnomalyNetwork(network, "0" * 64))


def three_faces() -> tuple[Tensor, Tensor, list[Latents]]:
    generator = tiny_generator()
    with torch.no_grad():
        pictures = generator.network.synthesis(latents(FACES, seed=7)).clamp(-1, 1)
    masks = torch.zeros(FACES, SIDE, SIDE)
    for mask, (top, left) in zip(masks, ((4, 8), (12, 20), (20, 4)), strict=True):
        mask[top : top + 36, left : left + 40] = 1
    nothing = torch.empty(0)
    found = [
        Latents(latents(CANDIDATES, seed=n), latents(1, seed=20 + n)[0], nothing, nothing) for n in range(3)
    ]
    return pictures, masks, found


def figures(measured: Measurement) -> list[float]:
    five = [value for one in measured.features for value in one.as_dict().values()]
    named = [
        value for one in (*measured.local_features, *measured.further_features) for value in one.values()
    ]
    return five + named


@pytest.mark.parametrize("judges", [False, True])
def test_together_each_face_gets_what_it_gets_alone(judges: bool) -> None:
    generator = judging_generator() if judges else tiny_generator()
    pictures, masks, found = three_faces()
    together = compare_candidates(generator, real_metric(), pictures, masks, found)
    assert len(together) == FACES
    for n, measured in enumerate(together):
        (alone,) = compare_candidates(
            generator, real_metric(), pictures[n, None], masks[n, None], found[n : n + 1]
        )
        assert len(measured.features) == len(measured.local_features) == CANDIDATES
        assert measured.local_features[0].keys() == alone.local_features[0].keys()
        assert ("n_peak" in measured.local_features[0]) == judges
        assert figures(measured) == pytest.approx(figures(alone), rel=1e-3, abs=1e-5)
        assert measured.latents is found[n]
        np.testing.assert_allclose(measured.anomaly_map, alone.anomaly_map, rtol=1e-3, atol=1e-6)
        assert np.abs(measured.normalized.astype(int) - alone.normalized).max() <= 1
        assert (measured.judged_map is None) == (not judges)
        if judges:
            np.testing.assert_allclose(measured.judged_map, alone.judged_map, rtol=1e-3, atol=1e-5)
    # Or nothing would have been told apart.
    assert figures(together[0]) != pytest.approx(figures(together[1]), rel=1e-2)
