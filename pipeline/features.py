"""The distances of a face from its normalized version: the paper's sixteen features.

Definitions: Boyaci et al. 2020, "Feature extraction"; seven compare pictures (LPIPS and MS-SSIM here, five in
`pipeline.picture_distances`), nine latents (`pipeline.latent_distances`). Picture distances are taken inside
the mask, at `FEATURE_SIDE` px, whatever the resolution of the optimisation was, so that profiles can be
compared.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_msssim import ms_ssim
from torch import Tensor
from torch.nn import functional

from models.anomaly_ensemble import AnomalyEnsemble
from models.anomaly_network import ANSWER_SIDE, AnomalyAnswer
from models.latent_covariance import LatentCovariance
from models.lpips import Lpips
from pipeline.latent_distances import latent_distances
from pipeline.local_features import local_features
from pipeline.objective import resized
from pipeline.picture_distances import picture_distances
from pipeline.result import FURTHER_FEATURES, Features

FEATURE_SIDE = 256
"""Side, in pixels, of the pictures that are compared."""

FINE_TAPS = 2
"""The taps that say where: AlexNet's first two, 4 and 8 px apart. The later ones blur over regions."""


class FeatureExtractor:
    """Compares one photograph with any number of normalized pictures; its own features are computed once."""

    def __init__(
        self, metric: Lpips, x_raw: Tensor, mask: Tensor, covariance: LatentCovariance | None = None
    ) -> None:
        """x_raw: (3, H, W) in [-1, 1]; mask: (H, W) of 0 and 1; covariance: the generator's, of w."""
        self._metric, self._covariance = metric, covariance
        self._mask = functional.interpolate(mask[None, None], (FEATURE_SIDE,) * 2, mode="area")
        self._raw = resized(x_raw[None], FEATURE_SIDE) * self._mask
        self._raw_features = metric.features(self._raw)
        self._weights = metric.tap_weights(self._mask, self._raw_features)
        self._last: tuple[Tensor, Tensor, tuple[Tensor, ...]] | None = None

    def _seen(self, x_norm: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the pictures as they are compared, with their taps; those asked for last are kept."""
        if self._last is None or self._last[0] is not x_norm:
            drawn = resized(x_norm.clamp(-1, 1), FEATURE_SIDE) * self._mask
            self._last = (x_norm, drawn, self._metric.features(drawn))
        return self._last[1:]

    def compare(self, x_norm: Tensor, w_raw: Tensor, w_norm: Tensor) -> list[Features]:
        """Return the five features for each of K pictures.

        x_norm: (K, 3, H, W) in [-1, 1]; w_raw: (w_dim,); w_norm: (K, w_dim).
        """
        drawn, taps = self._seen(x_norm)
        d_xperc = self._metric.distance(taps, self._raw_features, self._weights)
        similarity = ms_ssim(
            (drawn + 1) / 2, ((self._raw + 1) / 2).expand_as(drawn), data_range=1.0, size_average=False
        )
        further = self._distances(drawn, w_raw, w_norm)
        return [
            Features(
                d_xperc=float(d_xperc[k]),
                d_xstr=(1 - float(similarity[k])) / 2,
                d_xpsnr=further[k]["d_xpsnr"],
                d_wbc=further[k]["d_wbc"],
                d_wcorr=further[k]["d_wcorr"],
            )
            for k in range(len(drawn))
        ]

    def compare_further(self, x_norm: Tensor, w_raw: Tensor, w_norm: Tensor) -> list[dict[str, float]]:
        """Return the further features (`pipeline.result.FURTHER_FEATURES`) of each of K pictures, by name.

        Shapes as in `compare`. Without a covariance there is no d_wmahalanobis.
        """
        drawn, _ = self._seen(x_norm)
        return [
            {name: found[name] for name in FURTHER_FEATURES if name in found}
            for found in self._distances(drawn, w_raw, w_norm)
        ]

    def _distances(self, drawn: Tensor, w_raw: Tensor, w_norm: Tensor) -> list[dict[str, float]]:
        raw = _latent(w_raw)
        return [
            {**pictures, **latent_distances(raw, _latent(w), self._covariance)}
            for pictures, w in zip(picture_distances(drawn, self._raw, self._mask), w_norm, strict=True)
        ]

    def locate(self, x_norm: Tensor, maps: Tensor | None = None) -> list[dict[str, float]]:
        """Return the local features (`pipeline.local_features`) of each of K pictures (K, 3, H, W).

        maps: the first of their `maps`, where the caller has them already.
        """
        drawn, _ = self._seen(x_norm)
        return local_features(self.maps(x_norm)[0] if maps is None else maps, self._raw, drawn, self._mask)

    def maps(self, x_norm: Tensor) -> tuple[Tensor, Tensor]:
        """Return the local LPIPS of each of K pictures (K, 3, H, W): of all taps, and of the finest alone.

        Both are (K, 1, FEATURE_SIDE, FEATURE_SIDE). The second adds the first `FINE_TAPS` taps.
        """
        _, drawn = self._seen(x_norm)
        whole, fine = (
            self._metric.map(drawn[:taps], self._raw_features[:taps], FEATURE_SIDE)
            for taps in (None, FINE_TAPS)
        )
        return whole, fine

    def judged(self, network: AnomalyEnsemble, x_norm: Tensor) -> AnomalyAnswer:
        """Return what the anomaly network says of each of K pictures (K, 3, H, W)."""
        drawn, taps = self._seen(x_norm)
        count = len(drawn)
        answer: AnomalyAnswer = network(
            [tap.expand(count, -1, -1, -1) for tap in self._raw_features],
            taps,
            self._raw.expand(count, -1, -1, -1),
            drawn,
            self._mask.expand(count, -1, -1, -1),
        )
        return answer

    @property
    def cells(self) -> Tensor:
        """The mask in the anomaly network's cells, (1, 1, ANSWER_SIDE, ANSWER_SIDE) in [0, 1]."""
        return functional.adaptive_avg_pool2d(self._mask, ANSWER_SIDE)

    @property
    def mask(self) -> Tensor:
        """The mask at the features' side, (1, 1, FEATURE_SIDE, FEATURE_SIDE) in [0, 1]."""
        return self._mask


def _latent(w: Tensor) -> NDArray[np.float64]:
    return np.asarray(w.double().cpu().numpy())


def mean_features(features: list[Features]) -> Features:
    """Average over the K candidates (paper: candidates stabilise the features)."""
    rows = np.array([list(f.as_dict().values()) for f in features])
    return Features(*(float(v) for v in rows.mean(0)))


def mean_by_name(features: list[dict[str, float]]) -> dict[str, float]:
    """Average features that are kept by name over the K candidates."""
    return {name: float(np.mean([f[name] for f in features])) for name in features[0]}


def to_tensor(rgb: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 (H, W, 3) -> float32 (3, H, W) in [-1, 1]."""
    return torch.from_numpy(rgb).to(device).permute(2, 0, 1).float() / 127.5 - 1


def to_picture(x: Tensor) -> NDArray[np.uint8]:
    """(3, H, W) about [-1, 1] -> uint8 (H, W, 3)."""
    picture = ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(picture)
