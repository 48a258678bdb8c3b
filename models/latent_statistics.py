"""Where the latents of a generator lie: mean, spread and box, from seeded draws of its mapping network."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from models.face_network import FaceNetwork
from models.latent_covariance import COVARIANCE_KEY, LatentCovariance, latent_covariance

_LOG = logging.getLogger(__name__)
_KEPT_SAMPLES = 100_000


def latent_statistics(network: FaceNetwork, samples: int = 200_000, seed: int = 0) -> dict[str, Tensor]:
    """Return w_avg, w_std and the box (0.05 and 99.95 percentiles) over `samples` draws of z."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        w = torch.cat(
            [
                network.mapping(torch.randn(10_000, network.w_dim, generator=random))
                for _ in range(samples // 10_000)
            ]
        )
    ordered = w.sort(0).values
    edge = max(1, round(0.0005 * len(w)))
    return {
        "w_avg": w.mean(0),
        "w_std": w.std(0),
        "w_low": ordered[edge].clone(),
        "w_high": ordered[-edge].clone(),
    }


@dataclass(frozen=True, slots=True)
class KeptStatistics:
    """What was computed of a network once: what `latent_statistics` returns, and the covariance."""

    tensors: dict[str, Tensor]
    covariance: LatentCovariance


def kept_statistics(
    network: FaceNetwork, sha256: str, folder: Path, told: Callable[[str], None] = _LOG.info
) -> KeptStatistics:
    """Return a network's statistics, from `folder` where they are, else computed and written there.

    sha256: of the network's file. told: gets a line before the half minute that it takes. A folder that
    cannot be written costs that time again at the next start.
    """
    path = folder / f"{sha256[:16]}.safetensors"
    try:
        return _read(path.read_bytes())
    except (FileNotFoundError, SafetensorError, KeyError):
        told("Estimating where the network's latents lie; once for this file.")
    tensors = latent_statistics(network, _KEPT_SAMPLES)
    tensors[COVARIANCE_KEY] = torch.from_numpy(latent_covariance(network, _KEPT_SAMPLES).astype(np.float32))
    content = save({name: value.contiguous() for name, value in tensors.items()})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{hashlib.sha256(content).hexdigest()[:8]}.part")
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        _LOG.warning("The latent statistics could not be kept (%s).", error.strerror)
    return _read(content)


def _read(content: bytes) -> KeptStatistics:
    tensors = load(content)
    covariance = LatentCovariance.of(
        tensors.pop(COVARIANCE_KEY).double().numpy(), hashlib.sha256(content).hexdigest()
    )
    return KeptStatistics({name: tensors[name] for name in ("w_avg", "w_std", "w_low", "w_high")}, covariance)
