"""Faces beside their normalized versions: every candidate drawn, compared, and where it deviates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.generator import Generator
from models.lpips import Lpips
from pipeline.anomaly_map import anomaly_map, judged_map
from pipeline.drawn_face import drawn_face
from pipeline.features import FEATURE_SIDE, FeatureExtractor, to_picture
from pipeline.latents import Latents
from pipeline.learned_features import learned_features
from pipeline.result import Features

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Measurement:
    """How far a face is from its normalized version.

    features, local_features, further_features: one for each of the K candidates. normalized: the nearest
    candidate's picture, uint8 RGB at the generator's resolution. anomaly_map: where it deviates, float32
    (`FEATURE_SIDE`, `FEATURE_SIDE`), 0 off the mask (`pipeline.anomaly_map`). latents: of all candidates.
    judged_map: where the anomaly network sees something, of the same side; None without one.
    """

    features: list[Features]
    local_features: list[dict[str, float]]
    further_features: list[dict[str, float]]
    normalized: NDArray[np.uint8]
    anomaly_map: NDArray[np.float32]
    latents: Latents
    judged_map: NDArray[np.float32] | None = None


@torch.no_grad()
def compare_candidates(
    generator: Generator, metric: Lpips, x_raw: Tensor, masks: Tensor, latents: Sequence[Latents]
) -> list[Measurement]:
    """Measure every candidate of F faces together.

    x_raw: (F, 3, H, W) in [-1, 1]; masks: (F, H, W) of 0 and 1; latents: of each, with as many candidates.
    """
    extractor = FeatureExtractor(metric, x_raw, masks, generator.covariance)
    w_raw = torch.stack([one.w_raw for one in latents])
    w_norm = torch.stack([one.w_norm for one in latents])
    # On a CPU one picture at a time: the full network's activations for K of them would take gigabytes.
    together = w_norm.shape[1] if generator.device.type == "cuda" else 1
    found = [
        _Compared.of(extractor, generator, w_raw, w.flatten(0, 1), masks)
        for w in torch.split(w_norm, together, 1)
    ]
    maps = torch.cat([one.fine for one in found], 1)
    judged = [one.judged for one in found if one.judged is not None]
    features = [_joined(part.features[n] for part in found) for n in range(len(latents))]
    nearest = [int(np.argmin([f.d_xperc for f in of_face])) for of_face in features]
    best = generator.network.synthesis(torch.stack([w[k] for w, k in zip(w_norm, nearest, strict=True)]))
    where = anomaly_map(maps, extractor.mask)
    seen = judged_map(torch.cat(judged, 1), FEATURE_SIDE) if judged else [None] * len(latents)
    return [
        Measurement(
            features[n],
            _joined(part.local[n] for part in found),
            _joined(part.further[n] for part in found),
            to_picture(best[n]),
            where[n],
            latents[n],
            seen[n],
        )
        for n in range(len(latents))
    ]


@dataclass(frozen=True, slots=True)
class _Compared:
    """What is found of k candidates of each of F faces; lists are by face, then by candidate.

    fine: the finest LPIPS maps, (F, k, 1, S, S). judged: the anomaly network's, (F, k, 1, cells, cells).
    """

    features: list[list[Features]]
    local: list[list[dict[str, float]]]
    further: list[list[dict[str, float]]]
    fine: Tensor
    judged: Tensor | None

    @classmethod
    def of(
        cls, extractor: FeatureExtractor, generator: Generator, w_raw: Tensor, w_norm: Tensor, masks: Tensor
    ) -> _Compared:
        """Draw and compare. w_raw: (F, w_dim); w_norm: (F k, w_dim), face by face; masks: (F, H, W)."""
        count = len(w_raw)
        x_norm = drawn_face(generator, w_norm, masks, FEATURE_SIDE)
        features, further = extractor.compare(x_norm, w_raw, w_norm)
        whole, fine = extractor.maps(x_norm)
        local, judged = extractor.locate(x_norm, whole), None
        if generator.anomaly_network is not None:
            answer = extractor.judged(generator.anomaly_network.network, x_norm)
            learned = learned_features(answer, extractor.of_each(extractor.cells, len(w_norm)))
            local = [a | b for a, b in zip(local, learned, strict=True)]
            judged = _faces_apart(answer.map, count)
        by_face = (_by_face(features, count), _by_face(local, count), _by_face(further, count))
        return cls(*by_face, _faces_apart(fine, count), judged)


def _by_face(values: list[_T], faces: int) -> list[list[_T]]:
    each = len(values) // faces
    return [values[n : n + each] for n in range(0, len(values), each)]


def _faces_apart(x: Tensor, faces: int) -> Tensor:
    """(F k, ...) -> (F, k, ...)."""
    return x.reshape(faces, -1, *x.shape[1:])


def _joined(parts: Iterable[list[_T]]) -> list[_T]:
    return [value for part in parts for value in part]
