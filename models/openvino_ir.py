"""Reads the generator's OpenVINO graph (IR v10) as plain tensors; OpenVINO itself is not needed.

The two graphs are straight lines, so their constants are taken in order of use: which layer a weight
belongs to follows from the operator that consumes it. Constant style gains are folded into the
modulation weights, which leaves one multiplication per channel at run time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

Array = NDArray[np.float32]
_DTYPES = {"f32": np.float32, "i32": np.int32, "i64": np.int64}


class UnexpectedGraphError(ValueError):
    """The graph is not the one that this module understands."""


class _Graph:
    """Layers by id, their inputs in port order, and the constants' values."""

    def __init__(self, xml: bytes, weights: bytes) -> None:
        # The file's hash was checked against the catalog before it gets here.
        root = ElementTree.fromstring(xml)  # noqa: S314
        self.layers = {layer.attrib["id"]: layer for layer in root.iterfind("layers/layer")}
        inputs: dict[str, dict[int, str]] = {}
        self.consumers: dict[str, list[str]] = {}
        for edge in root.iterfind("edges/edge"):
            target, source = edge.attrib["to-layer"], edge.attrib["from-layer"]
            inputs.setdefault(target, {})[int(edge.attrib["to-port"])] = source
            self.consumers.setdefault(source, []).append(target)
        self.inputs = {target: [ports[p] for p in sorted(ports)] for target, ports in inputs.items()}
        self._weights = weights

    def kind(self, layer_id: str) -> str:
        return self.layers[layer_id].attrib["type"]

    def name(self, layer_id: str) -> str:
        return self.layers[layer_id].attrib["name"]

    def constant(self, layer_id: str) -> Array:
        data = self.layers[layer_id].find("data")
        if data is None or self.kind(layer_id) != "Const":
            raise UnexpectedGraphError(f"layer {layer_id} holds no constant")
        shape = [int(n) for n in data.attrib["shape"].split(",") if n.strip()]
        return np.frombuffer(
            self._weights,
            _DTYPES[data.attrib["element_type"]],
            count=math.prod(shape),
            offset=int(data.attrib["offset"]),
        ).reshape(shape)

    def operand(self, layer_id: str) -> Array:
        """Return the constant that a two-operand layer takes."""
        constants = [i for i in self.inputs[layer_id] if self.kind(i) == "Const"]
        if len(constants) != 1:
            raise UnexpectedGraphError(
                f"{self.kind(layer_id)} {layer_id} takes {len(constants)} constants, not one"
            )
        return self.constant(constants[0])

    def of_kind(self, *kinds: str) -> Iterator[str]:
        return (layer_id for layer_id in self.layers if self.kind(layer_id) in kinds)


def _mapping(graph: _Graph) -> dict[str, Array]:
    """Return the fully connected layers of z -> w."""
    tensors: dict[str, Array] = {}
    for n, matmul in enumerate(graph.of_kind("MatMul")):
        bias = graph.operand(_reshaped_bias(graph, graph.consumers[matmul]))
        tensors[f"mapping.{n}.weight"] = graph.operand(matmul)
        tensors[f"mapping.{n}.bias"] = bias
    return tensors


def _reshaped_bias(graph: _Graph, consumers: list[str]) -> str:
    add = next(c for c in consumers if graph.kind(c) == "Add")
    return next(i for i in graph.inputs[add] if graph.kind(i) == "Reshape")


def _modulations(graph: _Graph) -> dict[str, Array]:
    """Return weight and bias of every style projection, gains folded in."""
    tensors: dict[str, Array] = {}
    for matmul in graph.of_kind("MatMul"):
        name = graph.name(graph.inputs[matmul][1])  # m.layers.0.conv1.conv.modulation.weight
        place = name.removeprefix("m.").removesuffix(".modulation.weight").removesuffix(".conv")
        add = graph.consumers[matmul][0]
        bias = graph.operand(add).reshape(-1)
        gain = 1.0
        following = [c for c in graph.consumers[add] if graph.kind(c) == "Reshape"]
        for multiply in graph.consumers[following[0]] if following else []:
            others = [i for i in graph.inputs[multiply] if graph.kind(i) == "Const"]
            if graph.kind(multiply) == "Multiply" and others:
                gain = float(graph.constant(others[0]).reshape(()))
        tensors[f"{place}.style.weight"] = graph.operand(matmul) * np.float32(gain)
        tensors[f"{place}.style.bias"] = bias * np.float32(gain)
    return tensors


def _convolutions(graph: _Graph) -> dict[str, Array]:
    """Return kernels, noise planes and biases, in the order in which the picture passes them."""
    places = ["conv1"] + [f"layers.{n}.{conv}" for n in range(7) for conv in ("conv1", "conv2")]
    tensors: dict[str, Array] = {"input": graph.constant(_named(graph, "m.input.input"))}
    remaining = iter(places)
    depthwise: Array | None = None
    for layer in graph.of_kind("GroupConvolution", "Convolution"):
        if graph.kind(layer) == "GroupConvolution":
            depthwise = graph.operand(layer)[:, 0]
            continue
        first_add = graph.consumers[layer][0]
        if "to_img" in graph.name(graph.inputs[layer][1]):
            tensors["to_img.weight"] = graph.operand(layer)
            tensors["to_img.bias"] = graph.operand(first_add).reshape(-1)
            continue
        place = next(remaining)
        if depthwise is not None:
            tensors[f"{place}.depthwise"] = depthwise
        tensors[f"{place}.kernel"] = graph.operand(layer)
        tensors[f"{place}.noise"] = graph.operand(first_add)
        tensors[f"{place}.bias"] = graph.operand(graph.consumers[first_add][0]).reshape(-1)
        depthwise = None
    if next(remaining, None) is not None or "to_img.weight" not in tensors:
        raise UnexpectedGraphError("the synthesis graph has fewer convolutions than expected")
    return tensors


def _named(graph: _Graph, name: str) -> str:
    return next(i for i in graph.layers if graph.name(i) == name)


def _in_blocks(tensors: dict[str, Array]) -> dict[str, Array]:
    """Order channels before a wavelet as LL, LH, HL, HH blocks, and give its factor 1/2 to the weights.

    The graph holds LL first and then the three detail bands channel by channel, which would cost a
    copy at every level.
    """
    for n in range(7):
        up, before = f"layers.{n}.up.style", "conv1" if n == 0 else f"layers.{n - 1}.conv2"
        order = _block_order(len(tensors[f"{up}.bias"]))
        for name in (f"{before}.kernel", f"{before}.bias"):
            tensors[name] = tensors[name][order]
        for name in (f"{up}.weight", f"{up}.bias"):
            tensors[name] = np.float32(0.5) * tensors[name][order]
    order = _block_order(len(tensors["to_img.bias"]))
    for name in ("to_img.weight", "to_img.bias"):
        tensors[name] = np.float32(0.5) * tensors[name][order]
    return tensors


def _block_order(channels: int) -> NDArray[np.int64]:
    c = channels // 4
    return np.concatenate([np.arange(c)] + [c + band + 3 * np.arange(c) for band in range(3)])


def convert_generator(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Turn the four files of the package into one safetensors file.

    members: file name (without folder) -> content, for {Mapping,Synthesis}Network.{xml,bin}.
    Returns {"generator.safetensors": bytes}. Raises UnexpectedGraphError when the graph differs.
    """
    try:
        tensors = _tensors(members)
    except UnexpectedGraphError:
        raise
    except (LookupError, StopIteration, ValueError, ElementTree.ParseError) as error:
        raise UnexpectedGraphError(f"the graph lacks what is read from it ({error!r})") from error
    contiguous = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in tensors.items()}
    return {"generator.safetensors": save(contiguous, metadata={"architecture": "mobilestylegan"})}


def _tensors(members: Mapping[str, bytes]) -> dict[str, Array]:
    mapping = _Graph(members["MappingNetwork.xml"], members["MappingNetwork.bin"])
    synthesis = _Graph(members["SynthesisNetwork.xml"], members["SynthesisNetwork.bin"])
    styles = {
        name.replace("layers.6.to_img", "to_img"): value for name, value in _modulations(synthesis).items()
    }
    return _in_blocks(_mapping(mapping) | styles | _convolutions(synthesis))
