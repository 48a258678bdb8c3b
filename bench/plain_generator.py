"""The generator as a textbook writes it: what the plain loop and the projector draw with.

The same weights as `models.mobilestylegan`, none of its levers. Pictures are (N, C, H, W). Each sample has
modulated weights of its own, and a grouped convolution applies them (Karras et al., "Analyzing and
Improving the Image Quality of StyleGAN", CVPR 2020, section 2.2 and appendix B). The inverse Haar wavelet
is a transposed convolution with four fixed 2x2 filters, as in the published graph. Depthwise convolution,
pointwise convolution, noise, bias and leaky ReLU are operations of their own, and autograd derives every
gradient.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from models.cache import cached_path
from models.catalog import GENERATOR

_HAAR = (((1, 1), (1, 1)), ((1, 1), (-1, -1)), ((1, -1), (1, -1)), ((1, -1), (-1, 1)))


class PlainModulation(nn.Module):
    """The fully connected layer that gives one factor a channel for each sample."""

    weight: Tensor
    bias: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], place: str) -> None:
        super().__init__()
        self.register_buffer("weight", tensors[f"{place}.weight"])
        self.register_buffer("bias", tensors[f"{place}.bias"])

    def forward(self, w: Tensor) -> Tensor:
        """(N, w_dim) -> (N, C)."""
        return functional.linear(w, self.weight, self.bias)


class PlainModulatedConvolution(nn.Module):
    """A convolution whose weights are scaled by input channel, for each sample on its own."""

    weight: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], weight: str, style: str) -> None:
        super().__init__()
        self.modulation = PlainModulation(tensors, style)
        self.register_buffer("weight", tensors[weight])

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(N, C, H, W), (N, w_dim) -> (N, C', H, W)."""
        n, channels, height, width = x.shape
        outward, kernel = self.weight.shape[0], self.weight.shape[-1]
        weight = self.weight[None] * self.modulation(w)[:, None, :, None, None]
        drawn = functional.conv2d(
            x.reshape(1, n * channels, height, width),
            weight.reshape(n * outward, channels, kernel, kernel),
            padding=kernel // 2,
            groups=n,
        )
        return drawn.reshape(n, outward, height, width)


class PlainStyledConvolution(nn.Module):
    """(Depthwise,) modulated convolution, noise, bias, leaky ReLU, one after the other."""

    depthwise: Tensor | None
    noise: Tensor
    bias: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], place: str) -> None:
        super().__init__()
        self.convolution = PlainModulatedConvolution(tensors, f"{place}.kernel", f"{place}.style")
        self.register_buffer("depthwise", tensors.get(f"{place}.depthwise"))
        self.register_buffer("noise", tensors[f"{place}.noise"])
        self.register_buffer("bias", tensors[f"{place}.bias"])

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(N, C, H, W), (N, w_dim) -> (N, C', H, W)."""
        if self.depthwise is not None:
            # A factor by channel commutes with it, so the modulation may follow in the pointwise weights.
            x = functional.conv2d(x, self.depthwise, padding=1, groups=x.shape[1])
        x = self.convolution(x, w)
        x = x + self.noise
        x = x + self.bias[None, :, None, None]
        return functional.leaky_relu(x, 0.2)


class PlainInverseHaar(nn.Module):
    """Twice the inverse Haar wavelet: (N, 4C, H, W) -> (N, C, 2H, 2W); bands in blocks LL, LH, HL, HH."""

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filters", torch.tensor(_HAAR, dtype=torch.float32)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        """Apply the four filters to every channel's four bands."""
        n, channels, height, width = x.shape
        bands = x.reshape(n, 4, channels // 4, height, width).transpose(1, 2)
        return functional.conv_transpose2d(
            bands.reshape(n, channels, height, width),
            self.filters.repeat(channels // 4, 1, 1, 1),
            stride=2,
            groups=channels // 4,
        )


class PlainLevel(nn.Module):
    """Doubles the resolution: modulation, inverse wavelet, two styled convolutions."""

    def __init__(self, tensors: Mapping[str, Tensor], place: str) -> None:
        super().__init__()
        self.modulation = PlainModulation(tensors, f"{place}.up.style")
        self.wavelet = PlainInverseHaar()
        self.conv1 = PlainStyledConvolution(tensors, f"{place}.conv1")
        self.conv2 = PlainStyledConvolution(tensors, f"{place}.conv2")

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(N, 4C, H, W), (N, w_dim) -> (N, C', 2H, 2W)."""
        x = self.wavelet(x * self.modulation(w)[:, :, None, None])
        drawn: Tensor = self.conv2(self.conv1(x, w), w)
        return drawn


class PlainGenerator(nn.Module):
    """w -> the picture at full resolution.

    tensors: as `models.openvino_ir.convert_generator` names them, float32. All parameters are buffers:
    nothing here is trained.
    """

    input: Tensor
    bias: Tensor

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        depth = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers."))
        self.register_buffer("input", tensors["input"])
        self.conv1 = PlainStyledConvolution(tensors, "conv1")
        self.levels = nn.ModuleList(PlainLevel(tensors, f"layers.{n}") for n in range(depth))
        self.to_img = PlainModulatedConvolution(tensors, "to_img.weight", "to_img.style")
        self.register_buffer("bias", tensors["to_img.bias"])
        self.wavelet = PlainInverseHaar()

    def forward(self, w: Tensor) -> Tensor:
        """Draw w (N, w_dim) as (N, 3, side, side) with values about [-1, 1]."""
        x: Tensor = self.conv1(self.input.expand(len(w), -1, -1, -1), w)
        for level in self.levels:
            x = level(x, w)
        x = self.to_img(x, w) + self.bias[None, :, None, None]
        drawn: Tensor = self.wavelet(x)
        return drawn


def load_plain_generator(device: torch.device) -> PlainGenerator:
    """Load the default generator's weights; raises WeightsMissingError where they are not fetched."""
    tensors = load_file(cached_path(GENERATOR, "generator.safetensors"))
    return PlainGenerator(tensors).eval().to(device)
