"""Reading the generator's graph: faithful, repeatable, and only the graph that it was written for."""

import re

import pytest
import torch
from safetensors.torch import load

from models.mobilestylegan import MobileStyleGAN
from models.openvino_ir import UnexpectedGraphError, convert_generator
from tests.small_graph import W_DIM, small_graph


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return small_graph().files()


def converted(files: dict[str, bytes]) -> MobileStyleGAN:
    return MobileStyleGAN(load(convert_generator(files)["generator.safetensors"])).double()


def test_converted_network_draws_what_the_graph_says(files: dict[str, bytes]) -> None:
    graph, network = small_graph(), converted(files)
    z = torch.randn(2, W_DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    w = graph.map(z)
    torch.testing.assert_close(network.mapping(z), w, rtol=1e-6, atol=1e-6)
    picture = graph.draw(w[:1])
    assert picture.shape == (1, 3, 1024, 1024)
    assert picture.std() > 0.1
    # The conversion rounds what it folds to float32, nothing else differs.
    torch.testing.assert_close(network.synthesis(w[:1]), picture, rtol=0, atol=1e-5 * float(picture.std()))


def test_conversion_is_repeatable(files: dict[str, bytes]) -> None:
    assert convert_generator(files) == convert_generator(dict(reversed(files.items())))
    assert convert_generator(files) != convert_generator(small_graph(seed=1).files())


def test_missing_convolution_is_noticed() -> None:
    graph = small_graph()
    graph.places = tuple(place for place in graph.places if place != "layers.3.conv2")
    with pytest.raises(UnexpectedGraphError):
        convert_generator(graph.files())


def test_additional_convolution_is_noticed() -> None:
    graph = small_graph()
    for name in [name for name in graph.values if name.startswith("layers.6.conv2")]:
        graph.values[name.replace("layers.6.conv2", "layers.6.conv3")] = graph.values[name]
    graph.places = (*graph.places[:-1], "layers.6.conv3", graph.places[-1])
    with pytest.raises(UnexpectedGraphError):
        convert_generator(graph.files())


@pytest.mark.parametrize(
    ("network", "pattern", "replacement"),
    [
        ("Synthesis", rb"m\.input\.input", b"m.other.name"),
        ("Synthesis", rb"m\.layers\.6\.to_img\.conv\.weight", b"m.layers.6.from_img.weight"),
        ("Synthesis", rb"m\.layers\.2\.up\.modulation\.weight", b"m.layers.2.down.modulation.weight"),
        ("Synthesis", rb'type="Convolution"', b'type="Deconvolution"'),
        ("Synthesis", rb'type="GroupConvolution"', b'type="Convolution"'),
        ("Synthesis", rb'element_type="f32"', b'element_type="f16"'),
        ("Synthesis", rb"<edges>.*</edges>", b""),
        ("Synthesis", rb"</net>", b""),
        ("Mapping", rb'type="Reshape"', b'type="Squeeze"'),
        ("Mapping", rb'element_type="f32"', b'element_type="f16"'),
        ("Mapping", rb"<edges>.*</edges>", b""),
        ("Mapping", rb"</net>", b""),
    ],
)
def test_changed_graph_is_noticed(
    files: dict[str, bytes], network: str, pattern: bytes, replacement: bytes
) -> None:
    file = f"{network}Network.xml"
    changed, count = re.subn(pattern, replacement, files[file], flags=re.DOTALL)
    assert count
    with pytest.raises(UnexpectedGraphError):
        convert_generator(files | {file: changed})


@pytest.mark.parametrize("file", ["SynthesisNetwork.bin", "MappingNetwork.bin"])
def test_cut_off_weights_are_noticed(files: dict[str, bytes], file: str) -> None:
    with pytest.raises(UnexpectedGraphError):
        convert_generator(files | {file: files[file][:-64]})
