"""The default generator's graph in miniature: same operators, order and names, 4 to 8 random channels.

`draw` evaluates it as the graph is written, with transposed convolutions for the wavelet, so that what the
conversion reorders and folds can be held against it without the real weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from xml.etree import ElementTree

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

LEVELS, CHANNELS, W_DIM = 7, 8, 6
Constant = NDArray[np.float32]


@dataclass
class GraphWriter:
    """Collects layers, edges and constants of an OpenVINO IR v10 graph."""

    layers: list[ElementTree.Element] = field(default_factory=list)
    edges: list[ElementTree.Element] = field(default_factory=list)
    weights: bytearray = field(default_factory=bytearray)

    def add(self, kind: str, *inputs: str, name: str = "", **data: str) -> str:
        layer_id = str(len(self.layers))
        layer = ElementTree.Element("layer", id=layer_id, name=name or f"{kind}_{layer_id}", type=kind)
        if data:
            ElementTree.SubElement(layer, "data", data)
        self.layers.append(layer)
        for port, source in enumerate(inputs):
            edge = {"from-layer": source, "from-port": "9", "to-layer": layer_id, "to-port": str(port)}
            self.edges.append(ElementTree.Element("edge", edge))
        return layer_id

    def constant(self, value: Constant, name: str = "") -> str:
        offset, content = len(self.weights), value.astype(np.float32).tobytes()
        self.weights += content
        shape = ", ".join(map(str, value.shape))
        return self.add(
            "Const",
            name=name,
            element_type="f32",
            shape=shape,
            offset=str(offset),
            size=str(len(content)),
        )

    def files(self, name: str) -> dict[str, bytes]:
        net = ElementTree.Element("net", name=name, version="10")
        ElementTree.SubElement(net, "layers").extend(self.layers)
        ElementTree.SubElement(net, "edges").extend(self.edges)
        return {f"{name}.xml": ElementTree.tostring(net), f"{name}.bin": bytes(self.weights)}


@dataclass
class SmallGraph:
    """The constants by name. What the graph holds besides is structure."""

    values: dict[str, Constant]
    places: tuple[str, ...] = (
        "conv1",
        *(f"layers.{n}.{part}" for n in range(LEVELS) for part in ("up", "conv1", "conv2")),
        f"layers.{LEVELS - 1}.to_img",
    )

    def files(self) -> dict[str, bytes]:
        """The four files of the package."""
        return self.mapping().files("MappingNetwork") | self.synthesis().files("SynthesisNetwork")

    def mapping(self) -> GraphWriter:
        graph = GraphWriter()
        x = graph.add("Parameter", name="var")
        for n in range(2):
            product = graph.add("MatMul", x, graph.constant(self.values[f"mapping.{n}.weight"]))
            bias = graph.constant(self.values[f"mapping.{n}.bias"])
            flat = graph.add("Reshape", bias, graph.add("Concat"))
            rectified = graph.add(
                "PReLU", graph.add("Add", product, flat), graph.constant(np.full(1, 0.2, np.float32))
            )
            x = graph.add("Multiply", rectified, graph.constant(np.full((1, 1), math.sqrt(2), np.float32)))
        graph.add("Result", x)
        return graph

    def synthesis(self) -> GraphWriter:
        graph = GraphWriter()
        w = graph.add("Parameter", name="style")
        styles = {place: self._style(graph, w, place) for place in reversed(self.places)}
        x = graph.constant(self.values["input"], "m.input.input")
        for place in self.places:
            x = graph.add("Multiply", styles[place], x)
            if place.endswith(".up"):
                x = graph.add("GroupConvolutionBackpropData", x)
                continue
            if f"{place}.depthwise" in self.values:
                x = graph.add("GroupConvolution", x, graph.constant(self.values[f"{place}.depthwise"]))
            named = f"m.{place}.conv.weight" if place.endswith("to_img") else ""
            x = graph.add("Convolution", x, graph.constant(self.values[f"{place}.kernel"], named))
            if f"{place}.noise" in self.values:
                x = graph.add("Add", x, graph.constant(self.values[f"{place}.noise"]))
            x = graph.add("Add", x, graph.constant(self.values[f"{place}.bias"], f"m.{place}.bias"))
            if not place.endswith("to_img"):
                x = graph.add("PReLU", x, graph.constant(np.full(1, 0.2, np.float32)))
        graph.add("Result", graph.add("GroupConvolutionBackpropData", x))
        return graph

    def _style(self, graph: GraphWriter, w: str, place: str) -> str:
        prefix = f"m.{place}" if place.endswith(".up") else f"m.{place}.conv"
        weight = graph.constant(self.values[f"{place}.style.weight"], f"{prefix}.modulation.weight")
        product = graph.add("MatMul", w, weight)
        bias = graph.constant(self.values[f"{place}.style.bias"], f"{prefix}.modulation.bias")
        style = graph.add("Reshape", graph.add("Add", product, bias), graph.add("Concat"))
        if f"{place}.gain" in self.values:
            style = graph.add("Multiply", style, graph.constant(self.values[f"{place}.gain"]))
        return style

    def map(self, z: Tensor) -> Tensor:
        """z -> w as the graph says."""
        x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
        for n in range(2):
            weight, bias = (self._tensor(f"mapping.{n}.{part}") for part in ("weight", "bias"))
            x = functional.leaky_relu(x @ weight.T + bias, 0.2) * math.sqrt(2)
        return x

    def draw(self, w: Tensor) -> Tensor:
        """W -> picture as the graph says, operator by operator, in float64."""
        x = self._tensor("input").expand(len(w), -1, -1, -1)
        for place in self.places:
            style = w @ self._tensor(f"{place}.style.weight").T + self._tensor(f"{place}.style.bias")
            gain = self._tensor(f"{place}.gain") if f"{place}.gain" in self.values else torch.ones(1)
            x = x * (style[:, :, None, None] * gain)
            if place.endswith(".up"):
                x = wavelet(x)
                continue
            if f"{place}.depthwise" in self.values:
                depthwise = self._tensor(f"{place}.depthwise")[:, 0]
                x = functional.conv2d(x, depthwise, padding=1, groups=len(depthwise))
            kernel = self._tensor(f"{place}.kernel")
            x = functional.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
            if f"{place}.noise" in self.values:
                x = x + self._tensor(f"{place}.noise")
            x = x + self._tensor(f"{place}.bias")
            if not place.endswith("to_img"):
                x = functional.leaky_relu(x, 0.2)
        return wavelet(x)

    def _tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.values[name]).double()


def wavelet(x: Tensor) -> Tensor:
    """The graph's inverse wavelet: LL first, then the three details of each channel, two transposed steps."""
    low, details = x[:, : x.shape[1] // 4], x[:, x.shape[1] // 4 :]
    details = details.reshape(len(x), -1, 3, *x.shape[2:])
    s = math.sqrt(0.5)

    def step(a: Tensor, b: Tensor, shape: tuple[int, int]) -> Tensor:
        plus = torch.full((a.shape[1], 1, *shape), s, dtype=x.dtype)
        minus = plus.clone()
        minus.view(a.shape[1], 2)[:, 1] = -s
        stride = (2, 1) if shape == (2, 1) else (1, 2)
        return functional.conv_transpose2d(
            a, plus, stride=stride, groups=a.shape[1]
        ) + functional.conv_transpose2d(b, minus, stride=stride, groups=a.shape[1])

    left = step(low, details[:, :, 0], (2, 1))
    right = step(details[:, :, 1], details[:, :, 2], (2, 1))
    return step(left, right, (1, 2))


def small_graph(seed: int = 0) -> SmallGraph:
    """Random constants in the layout of the original."""
    random = np.random.default_rng(seed)

    def normal(*shape: int, spread: float = 1.0, around: float = 0.0) -> Constant:
        return (around + spread * random.standard_normal(shape)).astype(np.float32)

    values = {"input": normal(1, CHANNELS, 4, 4)}
    for n in range(2):
        values[f"mapping.{n}.weight"] = normal(W_DIM, W_DIM, spread=W_DIM**-0.5)
        values[f"mapping.{n}.bias"] = normal(W_DIM, spread=0.1)
    graph = SmallGraph(values)
    for place in graph.places:
        up, head = place.endswith(".up"), place.endswith("to_img")
        inward = CHANNELS // 4 if place.startswith("layers") and place.endswith("conv1") else CHANNELS
        gain = random.uniform(0.2, 0.6)
        values[f"{place}.style.weight"] = normal(inward, W_DIM, spread=0.3 / gain)
        values[f"{place}.style.bias"] = normal(1, inward, spread=0.1 / gain, around=1 / gain)
        if up:
            continue
        values[f"{place}.gain"] = np.full((1, 1, 1, 1), gain, np.float32)
        outward, kernel = 12 if head else CHANNELS, 3 if place == "conv1" else 1
        spread = math.sqrt(2 / (inward * kernel**2))
        values[f"{place}.kernel"] = normal(outward, inward, kernel, kernel, spread=spread)
        values[f"{place}.bias"] = normal(1, outward, 1, 1, spread=0.1)
        if head:
            continue
        side = 4 if place == "conv1" else 8 * 2 ** int(place.split(".")[1])
        values[f"{place}.noise"] = normal(1, 1, side, side, spread=0.05)
        if place != "conv1":
            values[f"{place}.depthwise"] = normal(inward, 1, 1, 3, 3, spread=0.2, around=0.1)
    return graph
