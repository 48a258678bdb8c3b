"""MobileStyleGAN as a PyTorch module: z -> w in R^512, w -> picture.

One 3x3 convolution at 4x4, then levels of: scale by style, inverse Haar wavelet, depthwise 3x3 and
pointwise convolution twice. The style only scales channels, so one set of weights serves a batch.
Activations are (N, H, W, C) throughout: on CPUs a depthwise convolution is then several times as fast.
Belousov, "MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity
Image Synthesis", 2021.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from models.window import Window

_SLOPE = 0.2  # leaky ReLU
_FIRST_RESOLUTION = 4
_REACH = 2  # pixels of a level that its two 3x3 convolutions reach beyond what they draw


class _InverseHaar(torch.autograd.Function):
    """The wavelet is orthogonal, so the gradient is the forward transform of what comes back."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        n, h, w, channels = x.shape
        ll, lh, hl, hh = torch.split(x, channels // 4, -1)
        picture = x.new_empty(n, h, 2, w, 2, channels // 4)
        low, high = ll + lh, hl + hh
        torch.add(low, high, out=picture[:, :, 0, :, 0])
        torch.sub(low, high, out=picture[:, :, 0, :, 1])
        low, high = torch.sub(ll, lh, out=low), torch.sub(hl, hh, out=high)
        torch.add(low, high, out=picture[:, :, 1, :, 0])
        torch.sub(low, high, out=picture[:, :, 1, :, 1])
        return picture.view(n, 2 * h, 2 * w, channels // 4)

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Tensor) -> Tensor:
        n, h, w, c = grad_outputs[0].shape
        picture = grad_outputs[0].reshape(n, h // 2, 2, w // 2, 2, c)
        bands = picture.new_empty(n, h // 2, w // 2, 4 * c)
        ll, lh, hl, hh = torch.split(bands, c, -1)
        even = picture[:, :, 0, :, 0] + picture[:, :, 0, :, 1]
        odd = picture[:, :, 1, :, 0] + picture[:, :, 1, :, 1]
        torch.add(even, odd, out=ll)
        torch.sub(even, odd, out=lh)
        torch.sub(picture[:, :, 0, :, 0], picture[:, :, 0, :, 1], out=even)
        torch.sub(picture[:, :, 1, :, 0], picture[:, :, 1, :, 1], out=odd)
        torch.add(even, odd, out=hl)
        torch.sub(even, odd, out=hh)
        return bands


def inverse_haar(x: Tensor) -> Tensor:
    """Twice the inverse 2-D Haar wavelet, (N, H, W, 4C) -> (N, 2H, 2W, C), as a butterfly.

    The channels hold LL, LH, HL and HH, C of each. The missing factor 1/2 is part of the weights before it.
    """
    picture: Tensor = _InverseHaar.apply(x)  # type: ignore[no-untyped-call]
    return picture


class _StyledProduct(torch.autograd.Function):
    """leaky_relu(x @ (kernel * style)^T + bias + noise), with one matrix product each way.

    kernel (C', C), bias (C',) and noise (P, 1) are constants; style (N, C) and x (N, P, C) carry gradients.
    What autograd would derive takes a third product for the style's gradient, which is only a sum.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        style: Tensor,
        kernel: Tensor,
        bias: Tensor,
        noise: Tensor | None,
        slope: float,
    ) -> Tensor:
        drawn = torch.baddbmm(bias, x, (kernel * style[:, None, :]).transpose(1, 2))
        if noise is not None:
            drawn += noise
        if slope != 1:
            functional.leaky_relu_(drawn, slope)
        ctx.save_for_backward(x, style, kernel, drawn)
        ctx.slope = slope  # type: ignore[attr-defined]
        return drawn

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, style, kernel, drawn = ctx.saved_tensors  # type: ignore[attr-defined]
        gradient, slope = grad_outputs[0], ctx.slope  # type: ignore[attr-defined]
        if slope != 1:
            gradient = torch.ops.aten.leaky_relu_backward(gradient, drawn, slope, True)
        back = torch.matmul(gradient, kernel)
        to_style = torch.linalg.vecdot(back, x, dim=1)
        return back.mul_(style[:, None, :]), to_style, None, None, None, None


def _style(module: nn.Module, w: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the factor of each channel (N, C), in the precision of the picture that it scales."""
    style = functional.linear(w, module.style_weight, module.style_bias)  # type: ignore[arg-type]
    return style.to(dtype)


class StyledConvolution(nn.Module):
    """Scale by style, (depthwise and) dense convolution, fixed noise plane, bias, leaky ReLU.

    A scale by channel commutes with a depthwise convolution, so it is applied to the small pointwise
    kernel instead of the picture, and the pointwise convolution is a matrix product.
    """

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

    def forward(self, x: Tensor, w: Tensor, part: Window | None = None) -> Tensor:
        """(N, H, W, C), (N, w_dim) -> (N, H, W, C'); part: which part of the level x is."""
        style = _style(self, w, x.dtype)
        n, h, width, channels = x.shape
        planes = x.permute(0, 3, 1, 2)
        if self.depthwise is None:
            drawn = functional.conv2d(planes * style[:, :, None, None], self.kernel, padding=1)
            drawn = functional.leaky_relu(drawn + (self.noise + self.bias[:, None, None]), _SLOPE)
            return drawn.permute(0, 2, 3, 1).contiguous()
        planes = functional.conv2d(planes, self.depthwise, padding=1, groups=channels)
        flat = planes.permute(0, 2, 3, 1).reshape(n, -1, channels)
        noise = self.noise
        if part is not None and noise.shape[-1] > 1:
            noise = noise[..., part.rows, part.columns]
        noise = noise.expand(1, 1, h, width).reshape(-1, 1)
        drawn = _StyledProduct.apply(  # type: ignore[no-untyped-call]
            flat, style, self.kernel[:, :, 0, 0], self.bias, noise, _SLOPE
        )
        return drawn.view(n, h, width, -1)  # type: ignore[no-any-return]


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

    def forward(self, x: Tensor, w: Tensor, part: Window | None = None) -> Tensor:
        """(N, H, W, C), (N, w_dim) -> (N, 2H, 2W, C'); C in blocks LL, LH, HL, HH.

        part: which part of the doubled picture comes out; its outer two pixels are not those of the whole.
        """
        x = x.to(self.conv1.kernel.dtype)
        scaled = inverse_haar(x * _style(self, w, x.dtype)[:, None, None, :])
        drawn: Tensor = self.conv2(self.conv1(scaled, w, part), w, part)
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

    def forward(self, x: Tensor, w: Tensor, part: Window | None = None) -> Tensor:
        """(N, H, W, C), (N, w_dim) -> (N, 3, 2H, 2W); part: which part of the level x is."""
        x = x.to(self.weight.dtype)
        if self.conv is not None:
            x = self.conv(x, w, part)
        n, h, width, channels = x.shape
        bands = _StyledProduct.apply(  # type: ignore[no-untyped-call]
            x.reshape(n, -1, channels),
            _style(self, w, x.dtype),
            self.weight[:, :, 0, 0],
            self.bias,
            None,
            1.0,
        )
        return inverse_haar(bands.view(n, h, width, -1)).permute(0, 3, 1, 2)


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

    def features(self, w: Tensor, resolution: int, window: Window | None = None) -> Tensor:
        """Return the activations (N, resolution, resolution, C) of the level at `resolution` px.

        window: the part that is wanted, on a picture of `resolution` px; the whole by default. What lies
        outside is not computed, but for the border that the convolutions reach into.
        """
        wanted = [Window.whole(resolution) if window is None else window]
        while wanted[-1].side > _FIRST_RESOLUTION:
            wanted.append(wanted[-1].halved(_REACH))
        x: Tensor = self.conv1(self.input.permute(0, 2, 3, 1).expand(len(w), -1, -1, -1), w)
        x = _cut(x, wanted[-1], Window.whole(_FIRST_RESOLUTION))
        for level, source, target in zip(self.levels, wanted[::-1], wanted[-2::-1], strict=False):
            x = _cut(level(x, w, source.scaled(2)), target, source.scaled(2))
        return x

    def synthesis(self, w: Tensor, resolution: int | None = None, window: Window | None = None) -> Tensor:
        """Draw w (N, w_dim) as (N, 3, r, r) with values about [-1, 1].

        resolution: one of `resolutions`; the full one by default. window: the part that is wanted, on a
        picture of that side; (N, 3, rows, columns) then. Raises KeyError for another resolution.
        """
        side = self.resolution if resolution is None else resolution
        head = self.heads[str(side)]
        if window is None:
            picture: Tensor = head(self.features(w, side // 2), w)
            return picture
        part = window.halved(_REACH)
        return _cut(
            head(self.features(w, side // 2, part), w, part).permute(0, 2, 3, 1), window, part.scaled(2)
        ).permute(0, 3, 1, 2)


def _cut(x: Tensor, target: Window, given: Window) -> Tensor:
    """Return the part `target` of x (N, H, W, C), which is the part `given` of the same picture."""
    if target == given:
        return x
    rows, columns = target.inside(given)
    return x[:, rows, columns]
