"""The generator against the graph that it was converted from, its gradients, and its loading."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.autograd import gradcheck

from models.catalog import GENERATOR
from models.generator import choose_device, load_generator
from models.generator_card import GeneratorCard, GeneratorError
from models.latent_statistics import latent_statistics
from models.mobilestylegan import MobileStyleGAN, PictureHead, StyledConvolution, inverse_haar
from tests.real_weights import real_generator
from tests.tiny import TINY_GENERATOR, latents, tiny_generator

REFERENCE = Path(__file__).parents[1] / "data" / "generator_reference.npz"
CPU = torch.device("cpu")


@pytest.mark.real_weights
def test_mapping_gives_the_original_graphs_w() -> None:
    with np.load(REFERENCE) as reference:
        w = real_generator().network.mapping(torch.from_numpy(reference["z"]))
        # Measured: 5e-6, where w reaches 4.7.
        np.testing.assert_allclose(w.numpy(), reference["w"], rtol=0, atol=1e-5)


@pytest.mark.real_weights
def test_pictures_are_the_original_graphs() -> None:
    with np.load(REFERENCE) as reference, torch.no_grad():
        pictures = real_generator().network.synthesis(torch.from_numpy(reference["w"])).numpy()
        every = slice(int(reference["offset"]), None, int(reference["stride"]))
        sample = pictures[:, :, every, every]
        # Measured: 4e-5 of the range [-1, 1]; the mean and std see the pixels between the samples.
        np.testing.assert_allclose(sample, reference["sample"], rtol=0, atol=2e-4)
        np.testing.assert_allclose(
            pictures.mean((2, 3), dtype=np.float64), reference["mean"], rtol=0, atol=1e-5
        )
        np.testing.assert_allclose(
            pictures.std((2, 3), dtype=np.float64), reference["std"], rtol=0, atol=1e-5
        )


def tiny_double() -> MobileStyleGAN:
    return copy.deepcopy(tiny_generator().network).double()


def test_gradient_of_synthesis_is_the_finite_difference() -> None:
    network = tiny_double()
    probes = torch.randn(4, *network.synthesis(latents(1).double()).shape[1:], dtype=torch.float64)

    def probed(w: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nchw,pchw->np", network.synthesis(w), probes)

    torch.manual_seed(5)
    assert gradcheck(probed, latents(2, seed=4).double().requires_grad_(), atol=1e-6)


def test_inverse_wavelet_has_its_forward_transform_as_gradient() -> None:
    torch.manual_seed(1)
    assert gradcheck(inverse_haar, torch.randn(2, 3, 2, 8, dtype=torch.float64, requires_grad=True))


def test_inverse_wavelet_is_orthogonal_and_in_order() -> None:
    bands = torch.randn(1, 4, 4, 12, generator=torch.Generator().manual_seed(2))
    picture = inverse_haar(bands)
    torch.testing.assert_close(picture.square().sum(), 4 * bands.square().sum())
    for band, signs in enumerate(((1, 1, 1, 1), (1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1))):
        one = torch.zeros(1, 1, 1, 4)
        one[..., band] = 1
        assert inverse_haar(one)[0, :, :, 0].flatten().tolist() == list(signs)


@pytest.mark.parametrize("place", ["conv1", "layers.0.conv1", "layers.1.conv2"])
def test_gradients_of_a_styled_convolution(place: str) -> None:
    tensors = {k: v.double() for k, v in load_file(TINY_GENERATOR).items()}
    convolution = StyledConvolution(tensors, place)
    side = tensors[f"{place}.noise"].shape[-1]
    channels = tensors[f"{place}.style.bias"].shape[0]
    torch.manual_seed(6)
    x = torch.randn(2, side, side, channels, dtype=torch.float64, requires_grad=True)
    assert gradcheck(
        lambda x, w: convolution(x, w).square().mean((1, 2)),
        (x, latents(2).double().requires_grad_()),
        fast_mode=True,
    )


def test_gradients_of_a_picture_head() -> None:
    tensors = {k: v.double() for k, v in load_file(TINY_GENERATOR).items()}
    head = PictureHead(tensors, "to_img")
    torch.manual_seed(7)
    x = torch.randn(2, 4, 4, tensors["to_img.weight"].shape[1], dtype=torch.float64, requires_grad=True)
    assert gradcheck(head, (x, latents(2).double().requires_grad_()))


def test_rows_of_a_batch_do_not_influence_each_other() -> None:
    network, w = tiny_double(), latents(3).double().requires_grad_()
    together = network.synthesis(w)
    for row in range(3):
        torch.testing.assert_close(together[row : row + 1], network.synthesis(w[row : row + 1]))
    (gradient,) = torch.autograd.grad(together[1].sum(), w)
    assert gradient[1].abs().max() > 0
    assert gradient[[0, 2]].abs().max() == 0


def test_calls_leave_the_latent_and_the_network_alone() -> None:
    network, w = tiny_generator().network, latents(1)
    before = {name: value.clone() for name, value in network.state_dict().items()} | {"w": w.clone()}
    first = network.synthesis(w)
    assert torch.equal(network.synthesis(w), first)
    for name, value in before.items():
        assert torch.equal(value, w if name == "w" else network.state_dict()[name]), name


def test_unknown_resolution_is_refused() -> None:
    network = tiny_generator().network
    assert network.synthesis(latents(2)).shape == (2, 3, network.resolution, network.resolution)
    assert network.resolutions[-1] == network.resolution == 64
    with pytest.raises(KeyError):
        network.synthesis(latents(1), 48)


def test_box_and_mean_of_the_latents() -> None:
    network = tiny_generator().network
    statistics = latent_statistics(network, samples=20_000, seed=1)
    w = latents(5_000, seed=9)
    inside = (w >= statistics["w_low"]) & (w <= statistics["w_high"])
    assert 0.997 < inside.float().mean() < 1
    standard_error = statistics["w_std"] / 5_000**0.5
    assert ((w.mean(0) - statistics["w_avg"]).abs() < 5 * standard_error).all()
    torch.testing.assert_close(w.std(0), statistics["w_std"], rtol=0.1, atol=0)


def test_shipped_statistics_describe_the_latents() -> None:
    generator, w = tiny_generator(), latents(5_000, seed=10)
    assert ((w.mean(0) - generator.w_avg).abs() < 5 * generator.w_std / 5_000**0.5).all()
    assert ((w < generator.w_low) | (w > generator.w_high)).float().mean() < 0.003


@pytest.mark.real_weights
def test_shipped_statistics_describe_the_real_latents() -> None:
    generator = real_generator()
    with torch.no_grad():
        w = generator.network.mapping(torch.randn(4_000, 512, generator=torch.Generator().manual_seed(11)))
    assert ((w.mean(0) - generator.w_avg).abs() < 5 * generator.w_std / 4_000**0.5).all()
    torch.testing.assert_close(w.std(0), generator.w_std, rtol=0.1, atol=0)
    assert ((w < generator.w_low) | (w > generator.w_high)).float().mean() < 0.003


def test_what_is_no_generator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match=r"scoring\.generator.*'no-such'"):
        load_generator("no-such", CPU)
    with pytest.raises(GeneratorError, match=r"scoring\.generator"):
        load_generator(str(tmp_path / "absent.safetensors"), CPU)
    weights = tmp_path / "alone.safetensors"
    weights.write_bytes(TINY_GENERATOR.read_bytes())
    with pytest.raises(GeneratorError, match=r"alone\.json"):
        load_generator(str(weights), CPU)
    weights.write_bytes(TINY_GENERATOR.read_bytes()[:-100])
    weights.with_suffix(".json").write_text(TINY_GENERATOR.with_suffix(".json").read_text())
    with pytest.raises(GeneratorError, match=r"alone\.safetensors is damaged"):
        load_generator(str(weights), CPU)


def test_weights_without_latent_statistics_are_refused(tmp_path: Path) -> None:
    tensors = load_file(TINY_GENERATOR)
    del tensors["w_low"]
    save_file(tensors, tmp_path / "g.safetensors")
    (tmp_path / "g.json").write_text(TINY_GENERATOR.with_suffix(".json").read_text())
    with pytest.raises(GeneratorError, match="w_low"):
        load_generator(str(tmp_path / "g.safetensors"), CPU)


def test_other_weights_have_another_hash(tmp_path: Path) -> None:
    tensors = load_file(TINY_GENERATOR)
    tensors["to_img.bias"] = tensors["to_img.bias"] + 1e-3
    save_file(tensors, tmp_path / "g.safetensors")
    (tmp_path / "g.json").write_text(TINY_GENERATOR.with_suffix(".json").read_text())
    other = load_generator(str(tmp_path / "g.safetensors"), CPU)
    assert other.sha256 != tiny_generator().sha256
    assert other.name == tiny_generator().name == "tiny-test"
    assert load_generator(str(TINY_GENERATOR), CPU).sha256 == tiny_generator().sha256


@pytest.mark.parametrize("key", ["name", "title", "licence", "profiles", "regressor"])
def test_card_names_the_key_that_it_lacks(key: str) -> None:
    values = json.loads(TINY_GENERATOR.with_suffix(".json").read_text())
    assert GeneratorCard.parse(json.dumps(values)).name == "tiny-test"
    del values[key]
    with pytest.raises(GeneratorError, match=key):
        GeneratorCard.parse(json.dumps(values))


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_what_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(GeneratorError, match="card cannot be read"):
        GeneratorCard.parse(text)


def test_device_setting() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_device_that_is_not_here_is_refused_with_the_setting(device: str) -> None:
    with pytest.raises(GeneratorError, match=rf"scoring\.device: the device '{device}'"):
        choose_device(device)


@pytest.mark.real_weights
def test_default_generator_goes_by_its_name() -> None:
    assert real_generator().name == GENERATOR
    assert {"fast", "reference"} <= real_generator().card.profiles.keys()
