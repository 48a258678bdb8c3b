"""Writes the tiny generator of the tests: random weights in the real layout, 64 px, w in R^32.

A real, small weights file that the ordinary setting chooses. It draws blobs, not faces, and its
regressor is a made-up line: good for logic, for nothing else.

    python -m tests.data.make_tiny_generator
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import load, save

from bench.fit_curvature import latent_curvature
from models.generator import assemble
from models.generator_card import GeneratorCard
from models.latent_covariance import COVARIANCE_KEY, covariance_path, latent_covariance
from models.latent_statistics import latent_statistics
from models.mobilestylegan import MobileStyleGAN
from tests.tiny import random_metric

HERE = Path(__file__).parent
W_DIM, CHANNELS, DEPTH = 32, 16, 3


def convolution(place: str, inward: int, outward: int, side: int, kernel: int = 1) -> dict[str, torch.Tensor]:
    tensors = style(place, inward) | {
        f"{place}.kernel": torch.randn(outward, inward, kernel, kernel) / math.sqrt(inward * kernel**2 / 2),
        f"{place}.noise": torch.randn(1, 1, side, side) * 0.01,
        f"{place}.bias": torch.randn(outward) * 0.1,
    }
    if kernel == 1:
        tensors[f"{place}.depthwise"] = torch.full((inward, 1, 3, 3), 1 / 9)
    return tensors


def style(place: str, channels: int) -> dict[str, torch.Tensor]:
    return {
        f"{place}.style.weight": torch.randn(channels, W_DIM) * 0.15,
        f"{place}.style.bias": torch.ones(channels),
    }


def tiny_tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(20)
    tensors = {"input": torch.randn(1, CHANNELS, 4, 4)} | convolution(
        "conv1", CHANNELS, CHANNELS, 4, kernel=3
    )
    for n in range(2):
        tensors[f"mapping.{n}.weight"] = torch.randn(W_DIM, W_DIM) / math.sqrt(W_DIM)
        tensors[f"mapping.{n}.bias"] = torch.randn(W_DIM) * 0.1
    for n in range(DEPTH):
        side = 8 * 2**n
        tensors |= style(f"layers.{n}.up", CHANNELS)
        tensors |= convolution(f"layers.{n}.conv1", CHANNELS // 4, CHANNELS, side)
        tensors |= convolution(f"layers.{n}.conv2", CHANNELS, CHANNELS, side)
    tensors |= style("to_img", CHANNELS)
    tensors |= {"to_img.weight": torch.randn(12, CHANNELS, 1, 1) * 0.15, "to_img.bias": torch.zeros(12)}
    described = tensors | latent_statistics(MobileStyleGAN(tensors), samples=20_000)
    return described | {"curvature": tiny_curvature(described)}


def tiny_curvature(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    card = GeneratorCard("tiny-test", "", "", {}, "")
    generator = assemble(tensors, card, "", HERE, torch.device("cpu"))
    mask = torch.zeros(64, 64)
    mask[8:56, 8:56] = 1
    return latent_curvature(generator, random_metric(), mask, 64, 600, 1)


def main() -> None:
    content = save({name: value.contiguous() for name, value in tiny_tensors().items()})
    (HERE / "tiny.safetensors").write_bytes(content)
    covariance = latent_covariance(MobileStyleGAN(load(content)), 20_000).astype(np.float32)
    save_numpy({COVARIANCE_KEY: covariance}, covariance_path(HERE / "tiny.safetensors"))
    shared = {"learning_rate": 0.1, "metric_resolution": 64, "lambda_sim": 10.0, "lambda_avg": 1.0}
    card = {
        "name": "tiny-test",
        "title": "Random weights for tests; draws blobs, not faces",
        "licence": "Apache-2.0",
        "profiles": {
            "fast": shared | {"steps": 3, "candidates": 2, "start_spread": 0.5},
            "newton": shared
            | {
                "method": "newton",
                "steps": 3,
                "candidate_steps": 1,
                "full_steps": 2,
                "raw_steps": 1,
                "candidates": 2,
                "start_spread": 0.5,
            },
            "reference": shared | {"steps": 6, "candidates": 1},
        },
        "regressor": "tiny-regressor.json",
    }
    (HERE / "tiny.json").write_text(json.dumps(card, indent=1) + "\n")
    digest = hashlib.sha256(hashlib.sha256(content).digest()).hexdigest()
    line = {"weight": [[-0.8]], "bias": [4.0], "activation": "linear"}
    regressor = {
        "name": "tiny-test-line",
        "features": ["d_xperc"],
        "mean": [0.35],
        "scale": [0.05],
        "members": [[line]],
        "residual_std": 0.5,
        "generator": "tiny-test",
        "generator_sha256": digest,
        "profile": "fast",
        "synthetic": True,
        "card": {"notes": "A line with made-up coefficients, for tests."},
    }
    (HERE / "tiny-regressor.json").write_text(json.dumps(regressor, indent=1) + "\n")


if __name__ == "__main__":
    main()
