"""A small StyleGAN2 network in NVIDIA's layout, what the reference answers, and the same in rosinality's."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.nvidia_stylegan2 import read_nvidia_stylegan2

NVIDIA_FILE = Path(__file__).parent / "data" / "stylegan2_official_layout_32px.pkl"


def reference() -> dict[str, Tensor]:
    """What the reference network answers: z, w, w_avg, image_const_noise, image_psi_0_7."""
    with np.load(NVIDIA_FILE.with_suffix(".npz")) as kept:
        return {name: torch.from_numpy(kept[name]) for name in kept.files}


def nvidia_tensors() -> dict[str, Tensor]:
    with NVIDIA_FILE.open("rb") as stream:
        return read_nvidia_stylegan2(stream)


def rosinality_content() -> dict[str, object]:
    """The same network as rosinality's code would save it, its constants divided out.

    There, a linear layer multiplies its weights by rate / sqrt(inputs) and its bias by rate, a modulated
    convolution its kernels by 1 / sqrt(inputs of a sum), and the resampling filters hold the gain of 4.
    """
    tensors, state = nvidia_tensors(), {}

    def linear(place: str, name: str, rate: float = 1.0, gain: float = 1.0) -> None:
        weight = tensors[f"{name}.weight"]
        state[f"{place}.weight"] = weight * math.sqrt(weight.shape[1]) / rate / gain
        state[f"{place}.bias"] = tensors[f"{name}.bias"] / rate / gain

    def convolution(place: str, name: str, noise: int) -> None:
        kernel = tensors[f"{name}.kernel"]
        state[f"{place}.conv.weight"] = (kernel * math.sqrt(kernel[0].numel()))[None]
        linear(f"{place}.conv.modulation", f"{name}.style")
        state[f"{place}.activate.bias"] = tensors[f"{name}.bias"]
        state[f"{place}.noise.weight"] = torch.full((1,), 2.0)
        state[f"noises.noise_{noise}"] = tensors[f"{name}.noise"][None, None] / 2
        if f"{name}.filter" in tensors:
            taps = tensors[f"{name}.filter"]
            state[f"{place}.conv.blur.kernel"] = 4 * (torch.outer(taps, taps) if taps.ndim == 1 else taps)

    def picture_layer(place: str, name: str) -> None:
        kernel = tensors[f"{name}.kernel"]
        state[f"{place}.conv.weight"] = kernel[None]
        linear(f"{place}.conv.modulation", f"{name}.style", gain=1 / math.sqrt(kernel[0].numel()))
        state[f"{place}.bias"] = tensors[f"{name}.bias"][None, :, None, None]
        if f"{name}.filter" in tensors:
            taps = tensors[f"{name}.filter"]
            state[f"{place}.upsample.kernel"] = 4 * (torch.outer(taps, taps) if taps.ndim == 1 else taps)

    for n in range(2):
        linear(f"style.{n + 1}", f"mapping.{n}", rate=0.01)
    state["input.input"] = tensors["const"][None]
    convolution("conv1", "blocks.0.conv1", 0)
    picture_layer("to_rgb1", "blocks.0.rgb")
    for n in range(1, 4):
        convolution(f"convs.{2 * n - 2}", f"blocks.{n}.conv0", 2 * n - 1)
        convolution(f"convs.{2 * n - 1}", f"blocks.{n}.conv1", 2 * n)
        picture_layer(f"to_rgbs.{n - 1}", f"blocks.{n}.rgb")
    return {"g_ema": state, "latent_avg": tensors["w_avg"]}
