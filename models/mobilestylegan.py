"""MobileStyleGAN as a PyTorch module: z -> w in R^512, w -> picture.

One 3x3 convolution at 4x4, then levels of: scale by style, inverse Haar wavelet, depthwise 3x3 and
pointwise convolution twice. The style only scales channels, so one set of weights serves a batch.
Belousov, "MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity
Image Synthesis", 2021.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

_SLOPE = 0.2  # leaky ReLU
_FIRST_RESOLUTION = 4


def inverse_haar(x: Tensor) -> Tensor:
    """Inverse 2-D Haar wavelet, (N, 4C, H, W) -> (N, C, 2H, 2W), as a butterfly.

    The first quarter of the channels is LL, the rest holds LH, HL, HH for each channel in turn.
    """
    n, channels, h, w = x.shape
    c = channels // 4
    ll = x[:, :c]
    lh, hl, hh = x[:, c:].reshape(n, c, 3, h, w).unbind(2)
    low_even, low_odd = ll + lh, ll - lh
    high_even, high_odd = hl + hh, hl - hh
    even = torch.stack((low_even + high_even, low_even - high_even), -1)
    odd = torch.stack((low_odd + high_odd, low_odd - high_odd), -1)
    return torch.stack((even, odd), 3).reshape(n, c, 2 * h, 2 * w) * 0.5


class StyledConvolution(nn.Module):
    """Scale by style, (depthwise and) dense convolution, fixed noise plane, bias, leaky ReLU."""

    style_weight: Tensor
    style_bias: Tensor
    depthwise: Tensor | None
    kernel: Tensor
    noise: Tensor
    bias: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], place: str) -> None:
        super().__init__()
        for name in ("style.weight", "style.bias", "depthwise", "kernel", "noise", "bias"):
            self.register_buffer(name.replace(".", "_"), tensors.get(f"{place}.{name}"))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(N, C, H, W), (N, w_dim) -> (N, C', H, W)."""
        x = x * functional.linear(w, self.style_weight, self.style_bias)[:, :, None, None]
        if self.depthwise is not None:
            x = functional.conv2d(x, self.depthwise, padding=1, groups=x.shape[1])
        x = functional.conv2d(x, self.kernel, padding=self.kernel.shape[-1] // 2)
        return functional.leaky_relu(x + (self.noise + self.bias[:, None, None]), _SLOPE)


class Level(nn.Module):
    """Doubles the resolution: style scale, inverse wavelet, two styled convolutions."""

    style_weight: Tensor
    style_bias: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], place: str) -> None:
        super().__init__()
        self.register_buffer("style_weight", tensors[f"{place}.up.style.weight"])
        self.register_buffer("style_bias", tensors[f"{place}.up.style.bias"])
        self.conv1 = StyledConvolution(tensors, f"{place}.conv1")
        self.conv2 = StyledConvolution(tensors, f"{place}.conv2")

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(N, C, H, W), (N, w_dim) -> (N, C', 2H, 2W)."""
        x = x * functional.linear(w, self.style_weight, self.style_bias)[:, :, None, None]
        drawn: Tensor = self.conv2(self.conv1(inverse_haar(x), w), w)
        return drawn


class PictureHead(nn.Module):
    """Style-scaled pointwise convolution to twelve channels and a last wavelet: (N, 3, 2H, 2W).

    A head that was fitted for a smaller picture begins with one styled convolution of its own.
    """

    style_weight: Tensor
    style_bias: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], place: str) -> None:
        super().__init__()
        self.conv = StyledConvolution(tensors, f"{place}.conv") if f"{place}.conv.kernel" in tensors else None
        for name in ("style.weight", "style.bias", "weight", "bias"):
            self.register_buffer(name.replace(".", "_"), tensors[f"{place}.{name}"])

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(N, C, H, W), (N, w_dim) -> (N, 3, 2H, 2W)."""
        if self.conv is not None:
            x = self.conv(x, w)
        x = x * functional.linear(w, self.style_weight, self.style_bias)[:, :, None, None]
        return inverse_haar(functional.conv2d(x, self.weight, self.bias))


class MobileStyleGAN(nn.Module):
    """The generator, with optional heads that draw a smaller picture from an earlier level.

    tensors: as `models.openvino_ir.convert_generator` names them, plus `heads.{resolution}.*` for
    each smaller picture (`models.picture_head`). All parameters are buffers: nothing here is trained.
    """

    input: Tensor

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        depth = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers."))
        mapping_depth = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("mapping."))
        for n in range(mapping_depth):
            self.register_buffer(f"mapping_{n}_weight", tensors[f"mapping.{n}.weight"])
            self.register_buffer(f"mapping_{n}_bias", tensors[f"mapping.{n}.bias"])
        self.mapping_depth = mapping_depth
        self.register_buffer("input", tensors["input"])
        self.conv1 = StyledConvolution(tensors, "conv1")
        self.levels = nn.ModuleList(Level(tensors, f"layers.{n}") for n in range(depth))
        self.resolution = _FIRST_RESOLUTION * 2 ** (depth + 1)
        smaller = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("heads.")})
        self.heads = nn.ModuleDict({str(r): PictureHead(tensors, f"heads.{r}") for r in smaller})
        self.heads[str(self.resolution)] = PictureHead(tensors, "to_img")
        self.w_dim = int(tensors["conv1.style.weight"].shape[1])

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The side lengths, in pixels, that `synthesis` can draw."""
        return tuple(sorted(int(r) for r in self.heads))

    def mapping(self, z: Tensor) -> Tensor:
        """Map normal z (N, w_dim) to w (N, w_dim)."""
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for n in range(self.mapping_depth):
            x = functional.linear(x, getattr(self, f"mapping_{n}_weight"), getattr(self, f"mapping_{n}_bias"))
            x = functional.leaky_relu(x, _SLOPE) * 2**0.5
        return x

    def features(self, w: Tensor, resolution: int) -> Tensor:
        """Return the activations (N, C, resolution, resolution) of the level at `resolution` px."""
        x: Tensor = self.conv1(self.input.expand(len(w), -1, -1, -1), w)
        for level in self.levels:
            if x.shape[-1] >= resolution:
                break
            x = level(x, w)
        return x

    def synthesis(self, w: Tensor, resolution: int | None = None) -> Tensor:
        """Draw w (N, w_dim) as (N, 3, r, r) with values about [-1, 1].

        resolution: one of `resolutions`; the full one by default. Raises KeyError for another.
        """
        side = self.resolution if resolution is None else resolution
        head = self.heads[str(side)]
        picture: Tensor = head(self.features(w, side // 2), w)
        return picture
