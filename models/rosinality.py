"""The tensors of a StyleGAN2 generator in rosinality's `.pt` files, as `models.stylegan2` takes them.

Such a file holds state dictionaries only (`g_ema`, sometimes `latent_avg`, and what a training run adds), so
torch's own restricted reader is enough. The constants that its layers apply on every call are multiplied in.
"""

from __future__ import annotations

import argparse
import math
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.inert_pickle import RefusedFileError

_MAPPING_RATE = 0.01  # lr_mlp, the same in every published file; not stored in it
_BLUR_GAIN = 4  # the stored filters already make up for the zeros between the pixels


def read_rosinality_stylegan2(path: Path) -> dict[str, Tensor]:
    """Return the tensors of `g_ema`, float32. Raises RefusedFileError for any other file."""
    state = _State(_loaded(path))
    mapping = [name for name in state.names if name.startswith("style.") and name.endswith(".weight")]
    tensors: dict[str, Tensor] = {}
    for n in range(len(mapping)):  # style.0 has no weights: it brings z to unit length
        linear = state.linear(f"style.{n + 1}", _MAPPING_RATE)
        tensors |= _named(f"mapping.{n}", linear)
    tensors["const"] = state.tensor("input.input", 4)[0]
    tensors |= _named("blocks.0.conv1", state.convolution("conv1", 0))
    tensors |= _named("blocks.0.rgb", state.picture_layer("to_rgb1"))
    for n in range(1, 1 + sum(name.endswith("to_rgbs") for name in state.lists("to_rgbs"))):
        up, same = 2 * n - 2, 2 * n - 1
        tensors |= _named(f"blocks.{n}.conv0", state.convolution(f"convs.{up}", 2 * n - 1))
        tensors |= _named(f"blocks.{n}.conv1", state.convolution(f"convs.{same}", 2 * n))
        tensors |= _named(f"blocks.{n}.rgb", state.picture_layer(f"to_rgbs.{n - 1}"))
    if state.average is not None:
        tensors["w_avg"] = state.average
    return tensors


def _loaded(path: Path) -> Mapping[str, object]:
    try:
        # A training run's own options are an argparse.Namespace, which only holds values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError, TypeError) as error:
        raise RefusedFileError("the file holds something besides tensors, or is damaged") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise RefusedFileError(f"the file is damaged ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise RefusedFileError("the file is no dictionary of networks")
    return content


class _State:
    """The state dictionary of `g_ema`, and what is beside it."""

    def __init__(self, content: Mapping[str, object]) -> None:
        state = content.get("g_ema")
        if not isinstance(state, dict):
            raise RefusedFileError("the file holds no network g_ema")
        self._state = state
        average = content.get("latent_avg")
        self.average = average.float().flatten() if isinstance(average, Tensor) else None

    @property
    def names(self) -> list[str]:
        return [name for name in self._state if isinstance(name, str)]

    def lists(self, name: str) -> set[str]:
        """Return the distinct "index.name" of the list's members."""
        return {f"{key.split('.')[1]}.{name}" for key in self.names if key.startswith(f"{name}.")}

    def tensor(self, name: str, dimensions: int) -> Tensor:
        tensor = self._state.get(name)
        if not isinstance(tensor, Tensor) or tensor.ndim != dimensions:
            raise RefusedFileError(f"g_ema.{name} is missing, or has another shape than StyleGAN2's")
        return tensor.float()

    def linear(self, place: str, rate: float = 1.0, gain: float = 1.0) -> dict[str, Tensor]:
        weight = self.tensor(f"{place}.weight", 2)
        return {
            "weight": weight * (gain * rate / math.sqrt(weight.shape[1])),
            "bias": self.tensor(f"{place}.bias", 1) * (gain * rate),
        }

    def convolution(self, place: str, number: int) -> dict[str, Tensor]:
        """Return a styled convolution; number: of its noise, which early files do not hold."""
        kernel = self.tensor(f"{place}.conv.weight", 5)[0]
        tensors = {
            # Before demodulation a factor would cancel, but for the small constant in it.
            "kernel": kernel / math.sqrt(kernel[0].numel()),
            "bias": self.tensor(f"{place}.activate.bias", 1),
        } | _named("style", self.linear(f"{place}.conv.modulation"))
        if f"noises.noise_{number}" in self._state:
            noise = self.tensor(f"noises.noise_{number}", 4)[0, 0]
            tensors["noise"] = noise * self.tensor(f"{place}.noise.weight", 1)
        if f"{place}.conv.blur.kernel" in self._state:
            tensors["filter"] = self.tensor(f"{place}.conv.blur.kernel", 2) / _BLUR_GAIN
        return tensors

    def picture_layer(self, place: str) -> dict[str, Tensor]:
        kernel = self.tensor(f"{place}.conv.weight", 5)[0]
        gain = 1 / math.sqrt(kernel[0].numel())
        tensors = {"kernel": kernel, "bias": self.tensor(f"{place}.bias", 4).flatten()}
        if f"{place}.upsample.kernel" in self._state:
            tensors["filter"] = self.tensor(f"{place}.upsample.kernel", 2) / _BLUR_GAIN
        return tensors | _named("style", self.linear(f"{place}.conv.modulation", gain=gain))


def _named(place: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{place}.{name}": tensor for name, tensor in tensors.items()}
