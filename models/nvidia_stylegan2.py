"""The tensors of a StyleGAN2 generator in NVIDIA's pickles, under the names that `models.stylegan2` takes.

The gains that NVIDIA's layers apply on every call (equalised learning rate) are multiplied into the weights,
and the noise strengths into the noise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.inert_pickle import RefusedFileError, Stream
from models.nvidia_pickle import PersistentObject, read_network_pickle


def read_nvidia_stylegan2(stream: Stream) -> dict[str, Tensor]:
    """Return the tensors of `G_ema`, float32. Raises RefusedFileError for any other network or file."""
    tree = read_network_pickle(stream)
    generator = _Part.of(tree.get("G_ema"), "G_ema", "Generator")
    mapping, synthesis = (
        generator.part(name, f"{name.capitalize()}Network") for name in ("mapping", "synthesis")
    )
    synthesis.expect("img_channels", 3)
    return _mapping(mapping) | _synthesis(synthesis)


class _Part:
    """A module of the network: its attributes, tensors and parts, each with a name for errors."""

    def __init__(self, module: PersistentObject, place: str) -> None:
        self._state, self.place = module.state, place

    @staticmethod
    def of(module: object, place: str, class_name: str) -> _Part:
        if type(module) is not PersistentObject or module.class_name != class_name:
            raise RefusedFileError(f"{place} is no {class_name} of StyleGAN2")
        return _Part(module, place)

    def part(self, name: str, class_name: str) -> _Part:
        """Return the part of that class; raises RefusedFileError without it."""
        return _Part.of(self._entries("_modules").get(name), f"{self.place}.{name}", class_name)

    def has_part(self, name: str) -> bool:
        return name in self._entries("_modules")

    def tensor(self, name: str) -> Tensor:
        """Return a parameter or buffer as float32; raises RefusedFileError without it."""
        array = self._entries("_parameters").get(name)
        if array is None:
            array = self._entries("_buffers").get(name)
        if not isinstance(array, np.ndarray):
            raise RefusedFileError(f"{self.place}.{name} is missing")
        return torch.from_numpy(np.array(array, dtype=np.float32))

    def has_tensor(self, name: str) -> bool:
        return isinstance(self._entries("_buffers").get(name), np.ndarray)

    def number(self, name: str) -> float:
        value = self._state.get(name)
        if type(value) not in (int, float):
            raise RefusedFileError(f"{self.place}.{name} is no number")
        return float(value)  # type: ignore[arg-type]

    def expect(self, name: str, value: object) -> None:
        """Raise RefusedFileError unless the attribute has the value."""
        if (found := self._state.get(name)) != value:
            said = repr(found)[:40] if isinstance(found, str | int | float) else type(found).__name__
            raise RefusedFileError(f"{self.place}.{name} is {said}; only {value!r} is known here")

    def clamp(self) -> dict[str, Tensor]:
        if self._state.get("conv_clamp") is None:
            return {}
        return {"clamp": torch.tensor(self.number("conv_clamp"))}

    @property
    def uses_noise(self) -> bool:
        return self._state.get("use_noise") is True

    def _entries(self, name: str) -> dict[Any, Any]:
        entries = self._state.get(name)
        if type(entries) is not dict:
            raise RefusedFileError(f"{self.place} has no {name}")
        return entries


def _mapping(mapping: _Part) -> dict[str, Tensor]:
    mapping.expect("c_dim", 0)
    if mapping.number("z_dim") != mapping.number("w_dim"):
        raise RefusedFileError("z and w have not the same number of components")
    tensors: dict[str, Tensor] = {}
    for n in range(int(mapping.number("num_layers"))):
        layer = mapping.part(f"fc{n}", "FullyConnectedLayer")
        layer.expect("activation", "lrelu")
        tensors |= _named(f"mapping.{n}", _linear(layer))
    if mapping.has_tensor("w_avg"):
        tensors["w_avg"] = mapping.tensor("w_avg")
    return tensors


def _linear(layer: _Part, gain: float = 1.0) -> dict[str, Tensor]:
    return {
        "weight": layer.tensor("weight") * (layer.number("weight_gain") * gain),
        "bias": layer.tensor("bias") * (layer.number("bias_gain") * gain),
    }


def _synthesis(synthesis: _Part) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    depth = math.log2(synthesis.number("img_resolution")) - 1
    if not (depth.is_integer() and 1 < depth < 10):
        raise RefusedFileError("the pictures' side is no power of two from 8 to 1024 px")
    for n in range(int(depth)):
        block = synthesis.part(f"b{2 ** (n + 2)}", "SynthesisBlock")
        block.expect("architecture", "skip")
        place = f"blocks.{n}"
        if n == 0:
            tensors["const"] = block.tensor("const")
        else:
            tensors |= _named(f"{place}.conv0", _convolution(block.part("conv0", "SynthesisLayer"), up=2))
            tensors[f"{place}.rgb.filter"] = block.tensor("resample_filter")
        tensors |= _named(f"{place}.conv1", _convolution(block.part("conv1", "SynthesisLayer"), up=1))
        tensors |= _named(f"{place}.rgb", _picture_layer(block.part("torgb", "ToRGBLayer")))
    return tensors


def _convolution(layer: _Part, up: int) -> dict[str, Tensor]:
    layer.expect("activation", "lrelu")
    layer.expect("up", up)
    if not math.isclose(layer.number("act_gain"), math.sqrt(2), rel_tol=1e-6):
        raise RefusedFileError(f"{layer.place}.act_gain is not the square root of 2")
    tensors = {"kernel": layer.tensor("weight"), "bias": layer.tensor("bias")} | layer.clamp()
    tensors |= _named("style", _linear(layer.part("affine", "FullyConnectedLayer")))
    if layer.uses_noise:
        tensors["noise"] = layer.tensor("noise_const") * layer.tensor("noise_strength")
    if up == 2:
        tensors["filter"] = layer.tensor("resample_filter")
    return tensors


def _picture_layer(layer: _Part) -> dict[str, Tensor]:
    style = _linear(layer.part("affine", "FullyConnectedLayer"), layer.number("weight_gain"))
    tensors = {"kernel": layer.tensor("weight"), "bias": layer.tensor("bias")} | layer.clamp()
    return tensors | _named("style", style)


def _named(place: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{place}.{name}": tensor for name, tensor in tensors.items()}
