"""What a normalization finds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Latents:
    """What an optimisation found: w_norm (K, w_dim), w_raw (w_dim,), and the terms at the kept iterates.

    similarity, averageness: (K + 1,), those of w_raw at last.
    """

    w_norm: Tensor
    w_raw: Tensor
    similarity: Tensor
    averageness: Tensor
