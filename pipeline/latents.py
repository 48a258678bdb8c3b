"""What a normalization finds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Latents:
    """What an optimisation found: w_norm (K, w_dim), w_raw (w_dim,), and the terms at the kept iterates.

    similarity, averageness: of each row that was descended with, those of w_raw at last: (K + 1,) of the
    plain loop's; (2,) of Newton's, whose further candidates take the first one's last steps over. average:
    (w_dim,), what the normalization was pulled to, where that is known.
    """

    w_norm: Tensor
    w_raw: Tensor
    similarity: Tensor
    averageness: Tensor
    average: Tensor | None = None
