"""StyleGAN2 as a PyTorch module, without compiled extensions: z -> w, w -> picture.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020: weight demodulation
(section 2.2, equations 1 to 3), skip architecture (section 4.1), as in configurations E and F. The noise is
constant. Numerically it is the reference's float32 (demodulation after the convolution instead of in the
kernels, which is the same sum in another order).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.window import Window

_SLOPE = 0.2  # leaky ReLU
_GAIN = 2**0.5  # of every activation
_EPSILON = 1e-8
_TAPS = 4  # of the resampling filter, and 3 of a kernel: the paddings below follow from both


class NetworkShapeError(ValueError):
    """The tensors do not make a StyleGAN2 network; the message says which does not fit."""


class StyledConvolution(nn.Module):
    """Style, 3x3 convolution (doubling the side if it has a filter), demodulation, noise, activation."""

    style_weight: Tensor
    style_bias: Tensor
    style_energy: Tensor
    kernel: Tensor
    bias: Tensor
    noise: Tensor | None
    fir: Tensor | None

    def __init__(self, tensors: Mapping[str, Tensor], place: str) -> None:
        super().__init__()
        _register(self, tensors, place, ("style.weight", "style.bias", "kernel", "bias"))
        self.register_buffer("noise", tensors.get(f"{place}.noise"))
        self.register_buffer("style_energy", self.kernel.square().sum((2, 3)))
        self.register_buffer("fir", None)
        if (taps := tensors.get(f"{place}.filter")) is not None:
            # A convolution as upfirdn2d means it turns the filter; 4 makes up for the zeros between pixels.
            self.register_buffer("fir", 4 * _square(taps).flip(0, 1)[None, None])
        self._clamp = _clamp(tensors, place)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(N, C, H, W), (N, w_dim) -> (N, C', H, W), or (N, C', 2H, 2W) with a filter."""
        style = functional.linear(w, self.style_weight, self.style_bias)
        demodulation = (style.square() @ self.style_energy.T + _EPSILON).rsqrt()
        x = x.to(self.kernel.dtype) * style.to(self.kernel.dtype)[:, :, None, None]
        if self.fir is None:
            x = functional.conv2d(x, self.kernel, padding=1)
        else:
            x = functional.conv_transpose2d(x, self.kernel.transpose(0, 1), stride=2)
            channels = x.shape[1]
            x = functional.conv2d(x, self.fir.expand(channels, -1, -1, -1), padding=1, groups=channels)
        x = x * demodulation.to(x.dtype)[:, :, None, None]
        constant = self.bias[:, None, None]
        x = x + (constant if self.noise is None else constant + self.noise)
        return _clamped(functional.leaky_relu(x, _SLOPE) * _GAIN, self._clamp)


class Block(nn.Module):
    """One resolution: a convolution that doubles the side (none in the first block) and one that keeps it."""

    def __init__(self, tensors: Mapping[str, Tensor], place: str) -> None:
        super().__init__()
        up = f"{place}.conv0"
        self.conv0 = StyledConvolution(tensors, up) if f"{up}.kernel" in tensors else None
        self.conv1 = StyledConvolution(tensors, f"{place}.conv1")

    @property
    def count(self) -> int:
        """How many convolutions it has."""
        return 1 if self.conv0 is None else 2

    def forward(self, x: Tensor, styles: Sequence[Tensor]) -> Tensor:
        """Draw with one latent (N, w_dim) for each convolution."""
        if self.conv0 is not None:
            x = self.conv0(x, styles[0])
        drawn: Tensor = self.conv1(x, styles[-1])
        return drawn


class PictureLayer(nn.Module):
    """Style, 1x1 convolution to three channels, not demodulated; added to the picture so far, doubled."""

    style_weight: Tensor
    style_bias: Tensor
    kernel: Tensor
    bias: Tensor
    fir: Tensor | None

    def __init__(self, tensors: Mapping[str, Tensor], place: str) -> None:
        super().__init__()
        _register(self, tensors, place, ("style.weight", "style.bias", "kernel", "bias"))
        taps = tensors.get(f"{place}.filter")
        self.register_buffer("fir", None if taps is None else 4 * _square(taps).expand(3, 1, -1, -1))
        self._clamp = _clamp(tensors, place)

    def forward(self, x: Tensor, w: Tensor, picture: Tensor | None) -> Tensor:
        """(N, C, H, W), (N, w_dim), the picture so far (N, 3, H/2, W/2) -> (N, 3, H, W), as precise as w."""
        style = functional.linear(w, self.style_weight, self.style_bias).to(self.kernel.dtype)
        kernels = self.kernel[:, :, 0, 0] * style[:, None, :]
        drawn = kernels @ x.to(kernels.dtype).flatten(2) + self.bias[:, None]
        drawn = _clamped(drawn, self._clamp).reshape(*drawn.shape[:2], *x.shape[2:]).to(w.dtype)
        if picture is None or self.fir is None:
            return drawn
        taps = self.fir.to(w.dtype)
        return drawn + functional.conv_transpose2d(picture, taps, stride=2, padding=1, groups=3)


class StyleGAN2(nn.Module):
    """The generator. All parameters are buffers: nothing here is trained.

    tensors, with every gain multiplied in: `mapping.{n}.weight|bias`; `const` (C, 4, 4); and for each block n
    `blocks.{n}.conv0|conv1|rgb`.`style.weight|style.bias|kernel|bias`, with `.noise` (H, W), `.filter` (4, 4)
    where the side is doubled, and `.clamp` where there are such. smaller: the sides at which the sum of the
    picture layers so far may stand for the full picture (see `faithful_skips`).

    Raises NetworkShapeError for tensors that do not fit each other.
    """

    const: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], smaller: Sequence[int] = ()) -> None:
        super().__init__()
        depth = sum(name.startswith("blocks.") and name.endswith(".conv1.kernel") for name in tensors)
        self.mapping_depth = (sum(name.startswith("mapping.") for name in tensors) + 1) // 2
        try:
            for n in range(self.mapping_depth):
                for name in ("weight", "bias"):
                    self.register_buffer(f"mapping_{n}_{name}", tensors[f"mapping.{n}.{name}"])
            self.register_buffer("const", tensors["const"])
            self.levels = nn.ModuleList(Block(tensors, f"blocks.{n}") for n in range(depth))
            self._sides = [self.const.shape[-1] * 2**n for n in range(depth)]
            self.heads = nn.ModuleDict(
                {str(r): PictureLayer(tensors, f"blocks.{n}.rgb") for n, r in enumerate(self._sides)}
            )
            self.resolution = self._sides[-1]
            self.w_dim = int(tensors["blocks.0.conv1.style.weight"].shape[1])
        except (KeyError, IndexError) as error:
            raise NetworkShapeError(f"the network lacks {error}") from error
        self._resolutions = (*sorted(set(smaller) & set(self._sides[:-1])), self.resolution)
        self._check()

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The side lengths, in pixels, that `synthesis` can draw."""
        return self._resolutions

    @property
    def num_ws(self) -> int:
        """How many latents one picture can take: one a convolution, and one for the last picture layer."""
        return 2 * len(self.levels)

    def mapping(self, z: Tensor) -> Tensor:
        """Map normal z (N, w_dim) to w (N, w_dim)."""
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + _EPSILON)
        for n in range(self.mapping_depth):
            x = functional.linear(x, getattr(self, f"mapping_{n}_weight"), getattr(self, f"mapping_{n}_bias"))
            x = functional.leaky_relu(x, _SLOPE) * _GAIN
        return x

    def synthesis(self, w: Tensor, resolution: int | None = None, window: Window | None = None) -> Tensor:
        """Draw w (N, w_dim), or one latent for each layer (N, num_ws, w_dim), as (N, 3, r, r) about [-1, 1].

        resolution: one of `resolutions`; the full one by default. window: the part that is wanted, on a
        picture of that side; the whole is drawn and cut. Raises KeyError for another resolution.
        """
        side = self.resolution if resolution is None else resolution
        if side not in self._resolutions:
            raise KeyError(side)
        picture = self.pictures(w, side)[side]
        return picture if window is None else picture[..., window.rows, window.columns]

    def pictures(self, w: Tensor, largest: int) -> dict[int, Tensor]:
        """Draw w as `synthesis` takes it: the picture so far by side, (N, 3, side, side), up to `largest`."""
        latents = w.unbind(1) if w.ndim == 3 else (w,) * self.num_ws
        x = self.const.expand(len(w), -1, -1, -1)
        drawn: dict[int, Tensor] = {}
        picture, place = None, 0
        for side, level in zip(self._sides, self.levels, strict=True):
            count: int = level.count  # type: ignore[assignment]
            x = level(x, latents[place : place + count])
            place += count  # the picture layer shares its latent with the next block's first convolution
            picture = drawn[side] = self.heads[str(side)](x, latents[place], picture)
            if side == largest:
                break
        return drawn

    def _check(self) -> None:
        """Draw once, which finds whatever does not fit."""
        for name, tensor in self.named_buffers():
            if not tensor.isfinite().all():
                raise NetworkShapeError(f"{name} holds what is no finite number")
        if not self.mapping_depth or any(module.conv0 is None for module in self.levels[1:]):
            raise NetworkShapeError("the network lacks its mapping, or a convolution")
        place = "the mapping"
        try:
            with torch.no_grad():
                w = self.mapping(self.const.new_zeros(1, self.w_dim))
                place = "the synthesis"
                picture = self.pictures(w, self.resolution)[self.resolution]
        except RuntimeError as error:
            raise NetworkShapeError(f"the shapes in {place} do not fit each other") from error
        if w.shape != (1, self.w_dim) or picture.shape != (1, 3, self.resolution, self.resolution):
            raise NetworkShapeError("the network's pictures or latents have an unexpected shape")


@torch.no_grad()
def faithful_skips(network: StyleGAN2, w: Tensor, most_error: float = 0.15) -> tuple[int, ...]:
    """Return the sides at which the picture so far is near to the full one averaged over area.

    Near: the root of the mean squared difference is at most `most_error` of the standard deviation of the
    full picture's pixels, as much as the fitted head of the default generator reaches. w: (N, w_dim), what
    to judge by. Only the last three halvings are looked at.
    """
    drawn = network.pictures(w, network.resolution)
    whole = drawn[network.resolution]
    sides = [side for side in drawn if network.resolution // 8 <= side < network.resolution]
    return tuple(
        side
        for side in sides
        if (drawn[side] - functional.adaptive_avg_pool2d(whole, side)).square().mean().sqrt()
        <= most_error * whole.std()
    )


def _register(module: nn.Module, tensors: Mapping[str, Tensor], place: str, names: Sequence[str]) -> None:
    for name in names:
        module.register_buffer(name.replace(".", "_"), tensors[f"{place}.{name}"])


def _square(taps: Tensor) -> Tensor:
    """Return the filter (4, 4), from itself or from the one of which it is the outer product."""
    square = torch.outer(taps, taps) if taps.ndim == 1 else taps
    if square.shape != (_TAPS, _TAPS):
        raise NetworkShapeError(f"a resampling filter has not {_TAPS} taps each way")
    return square


def _clamp(tensors: Mapping[str, Tensor], place: str) -> float | None:
    clamp = tensors.get(f"{place}.clamp")
    return None if clamp is None else float(clamp)


def _clamped(x: Tensor, limit: float | None) -> Tensor:
    return x if limit is None else x.clamp(-limit, limit)
