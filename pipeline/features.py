"""The distances of a face from its normalized version: the paper's sixteen features.

Definitions: Boyaci et al. 2020, "Feature extraction"; seven compare pictures (LPIPS and MS-SSIM here, five in
`pipeline.picture_distances`), nine latents (`pipeline.latent_distances`). Picture distances are taken inside
the mask, at `FEATURE_SIDE` px, whatever the resolution of the optimisation was, so that profiles can be
compared.
"""

from __future__ import annotations

from typing import NamedTuple

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


class _Seen(NamedTuple):
    """Pictures x_norm as they are compared, (N, ...) each, and of every one its own photograph."""

    x_norm: Tensor
    drawn: Tensor
    taps: tuple[Tensor, ...]
    raw: Tensor
    mask: Tensor
    raw_taps: list[Tensor]


class FeatureExtractor:
    """Compares F photographs with normalized pictures, K of each; their own features are computed once.

    Pictures, and whatever is returned, come face by face: the K of the first photograph, then the K of the
    next. Figures leave the device in one piece for all of them, since a GPU waits for each piece.
    """

    def __init__(
        self, metric: Lpips, x_raw: Tensor, mask: Tensor, covariance: LatentCovariance | None = None
    ) -> None:
        """x_raw: (F, 3, H, W) in [-1, 1]; mask: (F, H, W) of 0 and 1; covariance: the generator's, of w."""
        self._metric, self._covariance = metric, covariance
        self._mask = functional.interpolate(mask[:, None], (FEATURE_SIDE,) * 2, mode="area")
        self._raw = resized(x_raw, FEATURE_SIDE) * self._mask
        self._raw_features = metric.features(self._raw)
        self._weights = metric.tap_weights(self._mask, self._raw_features)
        self._last: _Seen | None = None

    @staticmethod
    def of_each(x: Tensor, rows: int) -> Tensor:
        """Return what is there once for each photograph (F, ...) as often as there are pictures of it."""
        each = rows // len(x)
        return x.expand(each, *x.shape[1:]) if len(x) == 1 else x.repeat_interleave(each, 0)

    def _seen(self, x_norm: Tensor) -> _Seen:
        """Return the pictures as they are compared, with their photographs; those asked for last are kept."""
        if self._last is None or self._last.x_norm is not x_norm:
            raw, mask, *raw_taps = (
                self.of_each(x, len(x_norm)) for x in (self._raw, self._mask, *self._raw_features)
            )
            drawn = resized(x_norm.clamp(-1, 1), FEATURE_SIDE) * mask
            self._last = _Seen(x_norm, drawn, self._metric.features(drawn), raw, mask, raw_taps)
        return self._last

    def compare(
        self, x_norm: Tensor, w_raw: Tensor, w_norm: Tensor
    ) -> tuple[list[Features], list[dict[str, float]]]:
        """Return of each picture the five features, and by name the further ones.

        x_norm: (F K, 3, H, W) in [-1, 1]; w_raw: (F, w_dim); w_norm: (F K, w_dim). The further ones are
        those of `pipeline.result.FURTHER_FEATURES`; without a covariance there is no d_wmahalanobis.
        """
        seen, rows = self._seen(x_norm), len(x_norm)
        weights = [self.of_each(weight, rows) for weight in self._weights]
        d_xperc = self._metric.distance(seen.taps, seen.raw_taps, weights)
        similarity = ms_ssim((seen.drawn + 1) / 2, (seen.raw + 1) / 2, data_range=1.0, size_average=False)
        ours = torch.stack((d_xperc, (1 - similarity) / 2), 1).tolist()
        pairs = zip(_latents(self.of_each(w_raw, rows)), _latents(w_norm), strict=True)
        of_latents = [latent_distances(u, v, self._covariance) for u, v in pairs]
        of_pictures = picture_distances(seen.drawn, seen.raw, seen.mask)
        found = [a | b for a, b in zip(of_pictures, of_latents, strict=True)]
        features = [
            Features(perceptual, structural, one["d_xpsnr"], one["d_wbc"], one["d_wcorr"])
            for (perceptual, structural), one in zip(ours, found, strict=True)
        ]
        return features, [{name: one[name] for name in FURTHER_FEATURES if name in one} for one in found]

    def locate(self, x_norm: Tensor, maps: Tensor | None = None) -> list[dict[str, float]]:
        """Return the local features (`pipeline.local_features`) of each picture (F K, 3, H, W).

        maps: the first of their `maps`, where the caller has them already.
        """
        seen = self._seen(x_norm)
        maps = self.maps(x_norm)[0] if maps is None else maps
        return local_features(maps, seen.raw, seen.drawn, seen.mask)

    def maps(self, x_norm: Tensor) -> tuple[Tensor, Tensor]:
        """Return the local LPIPS of each picture (F K, 3, H, W): of all taps, and of the finest alone.

        Both are (F K, 1, FEATURE_SIDE, FEATURE_SIDE). The second adds the first `FINE_TAPS` taps.
        """
        seen = self._seen(x_norm)
        whole, fine = (
            self._metric.map(seen.taps[:taps], seen.raw_taps[:taps], FEATURE_SIDE)
            for taps in (None, FINE_TAPS)
        )
        return whole, fine

    def judged(self, network: AnomalyEnsemble, x_norm: Tensor) -> AnomalyAnswer:
        """Return what the anomaly network says of each picture (F K, 3, H, W)."""
        seen = self._seen(x_norm)
        answer: AnomalyAnswer = network(seen.raw_taps, seen.taps, seen.raw, seen.drawn, seen.mask)
        return answer

    @property
    def cells(self) -> Tensor:
        """The masks in the anomaly network's cells, (F, 1, ANSWER_SIDE, ANSWER_SIDE) in [0, 1]."""
        return functional.adaptive_avg_pool2d(self._mask, ANSWER_SIDE)

    @property
    def mask(self) -> Tensor:
        """The masks at the features' side, (F, 1, FEATURE_SIDE, FEATURE_SIDE) in [0, 1]."""
        return self._mask


def _latents(w: Tensor) -> NDArray[np.float64]:
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
