"""A small network that sees a photograph beside its normalized face and says where it is anomalous, how much.

The distances of the paper ask how far two pictures are apart. People differ from what a generator draws of
them by stubble, light and make-up as much as a mild anomaly adds, and no distance can tell the one from the
other. This network learned to: on generated faces with random changes drawn on them, whose severity is known
(`bench.train_anomaly_network`). It looks at the features that the metric has computed anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

ANSWER_SIDE = 32
"""Side, in cells, of the map that the network answers with; a cell is 8 px of the 256 px picture."""

_TAP_CHANNELS = (64, 192, 384, 256, 256)  # AlexNet's
_TAP_GAIN = 30.0  # brings the metric's weighted unit-length features to about unit size
_DILATIONS = (1, 2, 4, 8, 1, 2, 4, 1)


class AnomalyAnswer(NamedTuple):
    """map: (N, 1, 32, 32), >= 0, root of the anomaly's local LPIPS. severity: (N,), 0 to about 1."""

    map: Tensor
    severity: Tensor


class _Block(nn.Module):
    """Two 3x3 convolutions around a residual, the first dilated."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(functional.gelu(self.norm1(x)))
        y = self.conv2(self.dropout(functional.gelu(self.norm2(y))))
        joined: Tensor = x + y
        return joined


class AnomalyNetwork(nn.Module):
    """Both pictures' features, their differences and mirror images, through residual blocks at 32x32."""

    def __init__(self, width: int = 96, *, sees_normalized: bool = True, dropout: float = 0.0) -> None:
        """sees_normalized: False leaves out the normalized picture, to measure what it is worth."""
        super().__init__()
        self.width, self.sees_normalized = width, sees_normalized
        tap, fine, coarse = width // 4, width // 2, width // 3
        self.taps = nn.ModuleList(nn.Conv2d(3 * channels, tap, 1) for channels in _TAP_CHANNELS)
        self.colour1 = nn.Conv2d(10, fine, 4, stride=4)
        self.colour2 = nn.Conv2d(fine, coarse, 3, stride=2, padding=1)
        seen = tap * len(_TAP_CHANNELS) + coarse + 3
        self.together = nn.Conv2d(seen, width, 1)
        self.mirrored = nn.Conv2d(2 * width, width, 1)
        self.blocks = nn.ModuleList(_Block(width, dilation, dropout) for dilation in _DILATIONS)
        self.norm = nn.GroupNorm(8, width)
        self.to_map = nn.Conv2d(width, 1, 1)
        self.pooled1, self.pooled2 = nn.Linear(3 * width + 3, 96), nn.Linear(96, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, raw_taps: Sequence[Tensor], norm_taps: Sequence[Tensor], raw: Tensor, norm: Tensor, mask: Tensor
    ) -> AnomalyAnswer:
        """Compare N photographs with their normalized pictures.

        raw, norm: (N, 3, 256, 256) in [-1, 1], 0 off the mask. mask: (N, 1, 256, 256) in [0, 1]. raw_taps,
        norm_taps: their `models.lpips.Lpips.features`.
        """
        if not self.sees_normalized:
            norm, norm_taps = torch.zeros_like(norm), [torch.zeros_like(tap) for tap in norm_taps]
        inside = functional.adaptive_avg_pool2d(mask, ANSWER_SIDE)
        x = functional.gelu(self.together(self._seen(raw_taps, norm_taps, raw, norm, mask, inside)))
        x = self.mirrored(torch.cat([x, x.flip(-1)], 1))
        for block in self.blocks:
            x = block(x)
        x = functional.gelu(self.norm(x))
        where = functional.softplus(self.to_map(x)) * inside
        return AnomalyAnswer(where, self._severity(x, where, inside))

    def _seen(
        self,
        raw_taps: Sequence[Tensor],
        norm_taps: Sequence[Tensor],
        raw: Tensor,
        norm: Tensor,
        mask: Tensor,
        inside: Tensor,
    ) -> Tensor:
        seen = []
        for reduce, a, b in zip(self.taps, raw_taps, norm_taps, strict=True):
            both = _TAP_GAIN * torch.cat([a, b, (a - b).abs()], 1)
            seen.append(_at_answer(functional.gelu(reduce(both))))
        colour = functional.gelu(self.colour1(torch.cat([raw, norm, raw - norm, mask], 1)))
        seen.append(functional.gelu(self.colour2(colour)))
        line = torch.linspace(-1, 1, ANSWER_SIDE, device=raw.device)
        across = line.abs().expand(len(raw), 1, ANSWER_SIDE, ANSWER_SIDE)  # the same on both sides
        down = line[:, None].expand(len(raw), 1, ANSWER_SIDE, ANSWER_SIDE)
        return torch.cat([*seen, across, down, inside], 1)

    def _severity(self, x: Tensor, where: Tensor, inside: Tensor) -> Tensor:
        weight = inside / inside.sum((2, 3), keepdim=True).clamp(min=1)
        strongest = where / where.sum((2, 3), keepdim=True).clamp(min=1e-6)
        pooled = [(x * weight).sum((2, 3)), (x * strongest).sum((2, 3)), (x * inside).amax((2, 3))]
        size = (where.square() * weight).sum((2, 3)).add(1e-8).sqrt()
        peak, mean = where.amax((2, 3)), (where * weight).sum((2, 3))
        hidden = functional.gelu(self.pooled1(self.dropout(torch.cat([*pooled, size, peak, mean], 1))))
        severity: Tensor = self.pooled2(hidden)[:, 0]
        return severity


def _at_answer(x: Tensor) -> Tensor:
    """Bring (N, C, H, W) to the answer's side."""
    if x.shape[-1] > ANSWER_SIDE:
        return functional.adaptive_avg_pool2d(x, ANSWER_SIDE)
    return functional.interpolate(x, (ANSWER_SIDE,) * 2, mode="bilinear")
