"""LPIPS with features of the target computed once and the distance averaged over a mask.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, version
0.1: trunk features are normalized by channel, squared differences weighted by a linear head and averaged
over space. Here "over space" may be a mask, and the map itself can be had. The heads come from the
installed `lpips` package's data files, which is never imported (it would pull torchvision).
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from models.cache import WeightsMissingError, cached_path, cached_sha256
from models.catalog import LPIPS_TRUNKS

_EPSILON = 1e-10
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)

# (convolution index in torchvision's `features`, stride, padding, max-pool before it as (kernel, stride)),
# grouped by tap: a tap follows the ReLU of its group's last convolution.
_ALEX: tuple[tuple[tuple[int, int, int, tuple[int, int] | None], ...], ...] = (
    ((0, 4, 2, None),),
    ((3, 1, 2, (3, 2)),),
    ((6, 1, 1, (3, 2)),),
    ((8, 1, 1, None),),
    ((10, 1, 1, None),),
)
_VGG16: tuple[tuple[tuple[int, int, int, tuple[int, int] | None], ...], ...] = (
    ((0, 1, 1, None), (2, 1, 1, None)),
    ((5, 1, 1, (2, 2)), (7, 1, 1, None)),
    ((10, 1, 1, (2, 2)), (12, 1, 1, None), (14, 1, 1, None)),
    ((17, 1, 1, (2, 2)), (19, 1, 1, None), (21, 1, 1, None)),
    ((24, 1, 1, (2, 2)), (26, 1, 1, None), (28, 1, 1, None)),
)
_TRUNKS = {"alexnet": (_ALEX, "alex"), "vgg16": (_VGG16, "vgg")}


def head_file(trunk: str) -> Path:
    """Return the installed file with the linear heads of `trunk` ("alexnet" or "vgg16")."""
    spec = importlib.util.find_spec("lpips")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package lpips is not installed; run `pip install lpips`")
    return Path(spec.origin).parent / "weights" / "v0.1" / f"{_TRUNKS[trunk][1]}.pth"


class Lpips(nn.Module):
    """The metric. Pictures are (N, 3, H, W) in [-1, 1], RGB."""

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        trunk: str,
        trunk_weights: Mapping[str, Tensor],
        heads: Sequence[Tensor],
        sha256: str = "",
        heads_sha256: str = "",
    ) -> None:
        """Take the trunk's name, tensors and digest, and the linear heads, one a tap, with theirs."""
        super().__init__()
        self.trunk = trunk
        self.sha256, self.heads_sha256 = sha256, heads_sha256
        self._groups = _TRUNKS[trunk][0]
        for name, value in trunk_weights.items():
            self.register_buffer(name.replace(".", "_"), value)
        for n, head in enumerate(heads):
            self.register_buffer(f"head_{n}", head.reshape(-1))
        self.register_buffer("shift", torch.tensor(_SHIFT)[None, :, None, None])
        self.register_buffer("scale", torch.tensor(_SCALE)[None, :, None, None])

    @staticmethod
    def load(trunk: str, trunk_file: Path, sha256: str = "") -> Lpips:
        """Load the metric on `trunk` from its converted safetensors file and lpips' own heads."""
        content = head_file(trunk).read_bytes()
        heads = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        ordered = [heads[f"lin{n}.model.1.weight"] for n in range(len(heads))]
        digest = hashlib.sha256(content).hexdigest()
        return Lpips(trunk, load_file(trunk_file), ordered, sha256, digest).eval()

    def features(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return the unit-length features of each tap, weighted so that squared differences sum to LPIPS."""
        first: Tensor = getattr(self, f"features_{self._groups[0][0][0]}_weight")
        x = ((pictures - self.shift) / self.scale).to(first.dtype)
        taps: list[Tensor] = []
        for n, group in enumerate(self._groups):
            for index, stride, padding, pool in group:
                if pool is not None:
                    x = functional.max_pool2d(x, *pool)
                weight, bias = (
                    getattr(self, f"features_{index}_weight"),
                    getattr(self, f"features_{index}_bias"),
                )
                x = functional.relu(functional.conv2d(x, weight, bias, stride=stride, padding=padding))
            tap = x.to(pictures.dtype)
            norm = tap.square().sum(1, keepdim=True).add(1e-20).sqrt()
            taps.append(
                tap / (norm + _EPSILON) * getattr(self, f"head_{n}").clamp(min=0).sqrt()[None, :, None, None]
            )
        return tuple(taps)

    @staticmethod
    def tap_weights(mask: Tensor, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the mask (1 or N, 1, H, W) at each tap's resolution, summing to one over space."""
        weights = []
        for tap in features:
            share = functional.adaptive_avg_pool2d(mask, (tap.shape[-2], tap.shape[-1]))
            weights.append(share / share.sum((2, 3), keepdim=True).clamp(min=_EPSILON))
        return tuple(weights)

    @staticmethod
    def distance(a: Sequence[Tensor], b: Sequence[Tensor], weights: Sequence[Tensor] | None = None) -> Tensor:
        """Return LPIPS (N,) between two lists of features, averaged over `weights` (`tap_weights`) or all."""
        total: Tensor | None = None
        for n, (fa, fb) in enumerate(zip(a, b, strict=True)):
            local = (fa - fb).square().sum(1, keepdim=True)
            term = local.mean((1, 2, 3)) if weights is None else (local * weights[n]).sum((1, 2, 3))
            total = term if total is None else total + term
        if total is None:
            raise ValueError("no features were given")
        return total

    @staticmethod
    def map(a: Sequence[Tensor], b: Sequence[Tensor], size: int) -> Tensor:
        """Return the local distance (N, 1, size, size): squared differences of every tap given, added."""
        maps = [
            functional.interpolate((fa - fb).square().sum(1, keepdim=True), (size, size), mode="bilinear")
            for fa, fb in zip(a, b, strict=True)
        ]
        return torch.stack(maps).sum(0)

    def forward(self, a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return LPIPS (N,) of two batches of pictures."""
        fa, fb = self.features(a), self.features(b)
        return self.distance(fa, fb, None if mask is None else self.tap_weights(mask, fa))


def load_metric(device: torch.device, trunk: str = "alexnet") -> Lpips:
    """Load the fetched metric on `trunk` ("alexnet" or "vgg16"). Raises WeightsMissingError."""
    file = f"{trunk}.safetensors"
    digest = cached_sha256(LPIPS_TRUNKS, file)
    try:
        return Lpips.load(trunk, cached_path(LPIPS_TRUNKS, file), digest).to(device)
    except SafetensorError as error:
        raise WeightsMissingError(LPIPS_TRUNKS, file, damaged=True) from error
