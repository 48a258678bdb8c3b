"""Photograph to latent in one pass: where the optimisation starts.

A reduced-rank ridge regression from pooled features of the metric's own trunk and a thumbnail to w. It was
fitted on generated faces with drawn anomalies on the input and the face's own w as the answer, so that it
answers a deformed face with a normal latent (`bench.fit_encoder`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

ENCODER_SIDE = 256
"""Side, in pixels, of the masked picture that the encoder sees."""

_TAPS = (1, 2, 4)
_GRID, _THUMBNAIL = 4, 16


def encoder_inputs(picture: Tensor, features: Sequence[Tensor]) -> Tensor:
    """Return the regression's inputs (N, F) for masked pictures (N, 3, 256, 256) and their LPIPS features."""
    pooled = [functional.adaptive_avg_pool2d(features[tap], _GRID).flatten(1) for tap in _TAPS]
    return torch.cat([*pooled, functional.adaptive_avg_pool2d(picture, _THUMBNAIL).flatten(1)], 1)


class LatentEncoder(nn.Module):
    """w = w_avg + ((inputs - mean) / scale) @ down @ up."""

    mean: Tensor
    scale: Tensor
    down: Tensor
    up: Tensor
    centre: Tensor

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name in ("mean", "scale", "down", "up", "centre"):
            self.register_buffer(name, tensors[f"encoder.{name}"].float())

    def forward(self, picture: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return w (N, w_dim) for masked pictures (N, 3, 256, 256) in [-1, 1] and their LPIPS features."""
        inputs = (encoder_inputs(picture, features) - self.mean) / self.scale
        w: Tensor = self.centre + inputs @ self.down @ self.up
        return w
