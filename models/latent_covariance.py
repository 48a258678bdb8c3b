"""How the components of w vary together: what the Mahalanobis distance divides by.

Estimated once from the generator's mapping network and kept in a file of its own beside the weights. It
decides no picture, so it is no part of the generator's sha256.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from models.face_network import FaceNetwork

COVARIANCE_KEY = "covariance"


class CovarianceError(ValueError):
    """The covariance file cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class LatentCovariance:
    """The covariance of w over the generator's own latents.

    matrix, inverse: float64 (w_dim, w_dim). sha256: over the file's bytes.
    """

    matrix: NDArray[np.float64]
    inverse: NDArray[np.float64]
    sha256: str

    @staticmethod
    def of(matrix: NDArray[np.float64], sha256: str = "") -> LatentCovariance:
        """Take (w_dim, w_dim); raises CovarianceError unless it is symmetric and positive definite."""
        matrix = np.asarray(matrix, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.allclose(matrix, matrix.T):
            raise CovarianceError("the covariance is not a symmetric matrix; estimate it anew")
        try:
            np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError as error:
            raise CovarianceError(
                "the covariance is not positive definite; estimate it from more samples"
            ) from error
        return LatentCovariance(matrix, np.asarray(np.linalg.inv(matrix), dtype=np.float64), sha256)


def covariance_path(weights: Path) -> Path:
    """Return where the covariance of the generator in `weights` is kept: `NAME-covariance.safetensors`."""
    return weights.with_name(f"{weights.stem}-covariance.safetensors")


def load_covariance(path: Path) -> LatentCovariance | None:
    """Read a covariance file, or return None where there is none; raises CovarianceError for a wrong one."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    try:
        matrix = load(content)[COVARIANCE_KEY]
    except (SafetensorError, KeyError) as error:
        raise CovarianceError(
            f"{path.name} holds no {COVARIANCE_KEY!r}; take it away, or estimate it anew"
        ) from error
    return LatentCovariance.of(matrix, hashlib.sha256(content).hexdigest())


@torch.no_grad()
def latent_covariance(network: FaceNetwork, samples: int = 200_000, seed: int = 0) -> NDArray[np.float64]:
    """Return the unbiased covariance (w_dim, w_dim) of w over `samples` seeded draws of z.

    Two passes, the mean first, in float64. samples: a whole number of batches of 10,000.
    """

    def draws() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed * 1_000_003 + n) for n in range(samples // 10_000)]

    def batch(random: torch.Generator) -> torch.Tensor:
        return network.mapping(torch.randn(10_000, network.w_dim, generator=random)).double()

    mean = torch.stack([batch(random).mean(0) for random in draws()]).mean(0)
    total = torch.zeros(network.w_dim, network.w_dim, dtype=torch.float64)
    for random in draws():
        centred = batch(random) - mean
        total += centred.T @ centred
    return np.asarray((total / (samples - 1)).numpy())
