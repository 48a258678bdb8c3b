"""Turn the LPIPS trunks (pickled, kernels as HWIO) into safetensors with torchvision's names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from models.numpy_pickle import ArrayTree, read_array_tree

# Where the n-th convolution sits in torchvision's `features`, by source file.
_LAYERS: Mapping[str, tuple[str, tuple[int, ...]]] = MappingProxyType(
    {
        "alexnet": ("AlexNet_0", (0, 3, 6, 8, 10)),
        "vgg16": ("VGG16_0", (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
    }
)


def convert_trunks(members: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return `alexnet.safetensors` and `vgg16.safetensors` from the two `.ckpt` files.

    Keys are `features.N.weight` (out, in, rows, columns) and `features.N.bias` (out,), float32.
    Raises RefusedPickleError for a file that is not a plain pickle of arrays, KeyError where a layer
    is missing.
    """
    return {f"{name}.safetensors": save(_trunk(members[f"{name}.ckpt"], name)) for name in _LAYERS}


def _trunk(data: bytes, name: str) -> dict[str, NDArray[np.float32]]:
    scope, positions = _LAYERS[name]
    layers = _branch(read_array_tree(data), scope)
    tensors = {}
    for index, position in enumerate(positions):
        layer = _branch(layers, f"Conv_{index}")
        kernel = _leaf(layer, "kernel").transpose(3, 2, 0, 1)
        tensors[f"features.{position}.weight"] = np.ascontiguousarray(kernel)
        tensors[f"features.{position}.bias"] = _leaf(layer, "bias")
    return tensors


def _branch(tree: ArrayTree, key: str) -> ArrayTree:
    value = tree[key]
    if isinstance(value, np.ndarray):
        raise TypeError(f"{key} is an array where layers were expected")
    return value


def _leaf(tree: ArrayTree, key: str) -> NDArray[np.float32]:
    value = tree[key]
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{key} is not an array")
    return value.astype(np.float32, copy=False)
