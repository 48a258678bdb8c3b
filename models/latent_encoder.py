"""Photograph to latent in one pass: where the optimisation starts.

A small network from pooled features of the metric's own trunk and a thumbnail to w. It was trained on
generated faces with drawn anomalies on the input and the face's own w as the answer, so that it answers a
deformed face with a normal latent (`bench.fit_encoder`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, takewhile

import torch
from torch import Tensor, nn
from torch.nn import functional

ENCODER_SIDE = 256
"""Side, in pixels, of the masked picture that the encoder sees."""

_TAPS = (1, 2, 4)
_GRID, _THUMBNAIL = 4, 16


def encoder_inputs(picture: Tensor, features: Sequence[Tensor]) -> Tensor:
    """Return the network's inputs (N, F) for masked pictures (N, 3, 256, 256) and their LPIPS features."""
    pooled = [functional.adaptive_avg_pool2d(features[tap], _GRID).flatten(1) for tap in _TAPS]
    return torch.cat([*pooled, functional.adaptive_avg_pool2d(picture, _THUMBNAIL).flatten(1)], 1)


class LatentEncoder(nn.Module):
    """Standardised inputs on their principal axes, then linear layers with GELU between them, around centre.

    tensors: `encoder.mean`, `encoder.scale` (F,), `encoder.axes` (F, A), `encoder.centre` (w_dim,), and for
    every layer n from 0 `encoder.layers.{n}.weight` (out, in) and `encoder.layers.{n}.bias` (out,). Raises
    KeyError where one is missing, ValueError without a layer.
    """

    mean: Tensor
    scale: Tensor
    axes: Tensor
    centre: Tensor

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name in ("mean", "scale", "axes", "centre"):
            self.register_buffer(name, tensors[f"encoder.{name}"].float())
        places = takewhile(
            lambda place: f"{place}.weight" in tensors, (f"encoder.layers.{n}" for n in count())
        )
        self._depth = 0
        for place in places:
            for name in ("weight", "bias"):
                self.register_buffer(f"{name}_{self._depth}", tensors[f"{place}.{name}"].float())
            self._depth += 1
        if not self._depth:
            raise ValueError("the encoder has no layer")

    def forward(self, picture: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return w (N, w_dim) for masked pictures (N, 3, 256, 256) in [-1, 1] and their LPIPS features."""
        return self.answer(encoder_inputs(picture, features))

    def answer(self, inputs: Tensor) -> Tensor:
        """Return w (N, w_dim) for what `encoder_inputs` returns (N, F)."""
        x = (inputs - self.mean) / self.scale @ self.axes
        for n in range(self._depth):
            x = functional.gelu(x) if n else x
            x = functional.linear(x, getattr(self, f"weight_{n}"), getattr(self, f"bias_{n}"))
        return self.centre + x
