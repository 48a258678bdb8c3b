"""Our StyleGAN2 draws what the reference draws, from either layout of file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from models.official_network import RefusedFileError, read_official_network
from models.rosinality import read_rosinality_stylegan2
from models.stylegan2 import NetworkShapeError, StyledConvolution, StyleGAN2, faithful_skips
from models.window import Window
from tests.official import NVIDIA_FILE, nvidia_tensors, reference, rosinality_content


def network() -> StyleGAN2:
    return StyleGAN2(nvidia_tensors())


def rosinality_file(folder: Path) -> Path:
    path = folder / "network.pt"
    torch.save(rosinality_content(), path)
    return path


def test_official_layout_matches_the_reference_to_1e_4() -> None:
    kept, official = reference(), read_official_network(NVIDIA_FILE)
    assert official.w_avg is not None
    w = official.network.mapping(kept["z"])
    torch.testing.assert_close(w, kept["w"], rtol=0, atol=1e-4)
    torch.testing.assert_close(official.w_avg, kept["w_avg"], rtol=0, atol=1e-6)
    picture = official.network.synthesis(w)
    torch.testing.assert_close(picture, kept["image_const_noise"], rtol=0, atol=1e-4)
    shortened = official.network.synthesis(official.w_avg + 0.7 * (w - official.w_avg))
    torch.testing.assert_close(shortened, kept["image_psi_0_7"], rtol=0, atol=1e-4)


def test_rosinalitys_layout_holds_the_same_network(tmp_path: Path) -> None:
    kept, official = reference(), read_official_network(rosinality_file(tmp_path))
    assert official.w_avg is not None
    torch.testing.assert_close(official.network.mapping(kept["z"]), kept["w"], rtol=0, atol=1e-4)
    torch.testing.assert_close(
        official.network.synthesis(kept["w"]), kept["image_const_noise"], rtol=0, atol=1e-4
    )
    torch.testing.assert_close(official.w_avg, kept["w_avg"])


@pytest.mark.parametrize("place", ["blocks.1.conv0", "blocks.1.conv1"])
def test_styled_convolution_is_that_of_the_paper(place: str) -> None:
    """Kernels of one sample scaled by its style and demodulated first, then plain convolutions."""
    tensors, random = nvidia_tensors(), np.random.default_rng(0)
    kernel = tensors[f"{place}.kernel"].double().numpy()
    doubled = f"{place}.filter" in tensors
    x = random.standard_normal((kernel.shape[1], 4 if doubled else 8, 4 if doubled else 8))
    w = reference()["w"][0].double().numpy()
    style = tensors[f"{place}.style.weight"].double().numpy() @ w + tensors[f"{place}.style.bias"].numpy()
    kernel = kernel * style[None, :, None, None]
    kernel /= np.sqrt((kernel**2).sum((1, 2, 3), keepdims=True) + 1e-8)
    drawn = []
    for filters in kernel:
        plane = np.zeros(())
        for channel, taps in zip(x, filters, strict=True):
            if doubled:
                apart = np.zeros((7, 7))
                apart[::2, ::2] = channel
                fir = tensors[f"{place}.filter"].double().numpy()
                fir = np.outer(fir, fir) if fir.ndim == 1 else fir
                plane = plane + convolve2d(convolve2d(apart, taps), 4 * fir)[2:-2, 2:-2]
            else:
                plane = plane + convolve2d(channel, taps[::-1, ::-1], mode="same")
        drawn.append(plane)
    expected = np.stack(drawn) + tensors[f"{place}.noise"].numpy()
    expected += tensors[f"{place}.bias"].numpy()[:, None, None]
    expected = np.where(expected < 0, 0.2 * expected, expected) * math.sqrt(2)
    layer = StyledConvolution(tensors, place)
    found = layer(torch.from_numpy(x).float()[None], reference()["w"][:1])[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-4)


def test_each_layer_can_have_a_latent_of_its_own() -> None:
    drawer, w = network(), reference()["w"]
    rows = w[:1, None].repeat(1, drawer.num_ws, 1)
    torch.testing.assert_close(drawer.synthesis(rows), drawer.synthesis(w[:1]))
    rows[:, -1] = w[1]  # only the last picture layer has it
    changed = drawer.pictures(rows, drawer.resolution)
    same = drawer.pictures(w[:1], drawer.resolution)
    assert torch.equal(changed[16], same[16])
    assert not torch.equal(changed[32], same[32])


def test_window_is_the_pictures_part() -> None:
    drawer, w = network(), reference()["w"]
    part = drawer.synthesis(w, window=Window(32, 4, 20, 8, 28))
    assert torch.equal(part, drawer.synthesis(w)[..., 4:20, 8:28])


def test_gradient_reaches_w() -> None:
    w = reference()["w"][:1].double().requires_grad_()
    drawer = network().double()
    assert torch.autograd.gradcheck(lambda v: drawer.synthesis(v)[..., ::8, ::8], w, atol=1e-6)


def test_smaller_pictures_are_offered_only_where_they_are_faithful() -> None:
    tensors = nvidia_tensors()
    w = reference()["w"]
    assert faithful_skips(StyleGAN2(tensors), w, most_error=1e-9) == ()
    silent = dict(tensors)
    silent["blocks.3.rgb.kernel"] = torch.zeros_like(tensors["blocks.3.rgb.kernel"])
    silent["blocks.3.rgb.bias"] = torch.zeros(3)
    drawer = StyleGAN2(silent)
    sides = faithful_skips(drawer, w, most_error=0.4)  # the last layer only doubles what is there
    assert 16 in sides
    assert StyleGAN2(silent, sides).synthesis(w, 16).shape == (2, 3, 16, 16)
    with pytest.raises(KeyError):
        drawer.synthesis(w, 16)


@pytest.mark.parametrize("name", ["const", "blocks.2.conv0.kernel", "mapping.1.weight", "blocks.1.rgb.bias"])
def test_network_that_lacks_a_tensor_is_refused(name: str) -> None:
    tensors = nvidia_tensors()
    del tensors[name]
    with pytest.raises(NetworkShapeError):
        StyleGAN2(tensors)


@pytest.mark.parametrize(
    "name", ["const", "blocks.2.conv1.kernel", "mapping.0.weight", "blocks.1.conv0.noise"]
)
def test_network_of_wrong_shapes_or_numbers_is_refused(name: str) -> None:
    tensors = nvidia_tensors()
    with pytest.raises(NetworkShapeError):
        StyleGAN2({**tensors, name: tensors[name][:-1]})
    with pytest.raises(NetworkShapeError, match="finite"):
        StyleGAN2({**tensors, name: tensors[name] * math.nan})


def test_rosinality_file_without_a_generator_is_refused(tmp_path: Path) -> None:
    for n, content in enumerate(
        ({}, {"g_ema": {}}, {"g_ema": 3}, [1], {"g_ema": {"input.input": torch.ones(2)}})
    ):
        path = tmp_path / f"{n}.pt"
        torch.save(content, path)
        with pytest.raises(RefusedFileError):
            read_rosinality_stylegan2(path)
