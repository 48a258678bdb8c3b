"""Fits a head that draws a 256 px picture from the generator's 128 px level.

Upstream trained such a head at every level and kept only the last, so that a 256 px picture costs the
whole 1024 px network. This fits one again; the target is the full picture, area-averaged. What the skipped
levels do with w is mostly colour, so the head's styles see w only through the few directions that move
those levels' own styles most: that much can be learned from some hundred faces.

    python -m bench.drawn_faces --faces 600
    python -m bench.fit_picture_head --output head.safetensors
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from bench.drawn_faces import PATCH, SIDE, shards
from models.allocator import keep_freed_memory
from models.cache import cached_path
from models.catalog import GENERATOR

_DIRECTIONS = 96
_CHANNELS = 64
_SKIPPED = (
    "layers.5.up",
    "layers.5.conv1",
    "layers.5.conv2",
    "layers.6.up",
    "layers.6.conv1",
    "layers.6.conv2",
    "to_img",
)


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--faces", type=Path, default=Path("out/faces"))
    arguments.add_argument("--steps", type=int, default=4000)
    arguments.add_argument("--patches", type=int, default=16, help="patches a step")
    arguments.add_argument("--held-out", type=int, default=50, help="faces kept for the figures printed")
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--output", type=Path, required=True)
    options = arguments.parse_args()
    keep_freed_memory()
    torch.manual_seed(options.seed)
    source = load_file(cached_path(GENERATOR, "generator.safetensors"))
    data = load_patches(options.faces)
    per_face = len(data[1]) // len(data[0])
    split = len(data[0]) - options.held_out
    directions = influential_directions(source, data[0])
    head = fresh_head(source, data[1][:200].float())
    optimiser = torch.optim.Adam([t.requires_grad_() for t in head.values()], lr=3e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=options.steps)
    began, errors = time.monotonic(), []
    for n in range(options.steps):
        chosen = torch.randint(split * per_face, (options.patches,))
        drawn = draw(head, data[1][chosen].float(), data[0][chosen // per_face] @ directions.T)
        loss = functional.mse_loss(drawn, data[2][chosen].float())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.values(), 1.0)
        optimiser.step()
        schedule.step()
        errors.append(loss.item())
        if n % 250 == 249:
            with torch.no_grad():
                rest = torch.arange(split * per_face, len(data[1]))
                held_out = draw(head, data[1][rest].float(), data[0][rest // per_face] @ directions.T)
                error = functional.mse_loss(held_out, data[2][rest].float()).sqrt().item()
            rms = math.sqrt(sum(errors[-250:]) / 250)
            print(
                f"step {n + 1}: rms {rms:.4f}, held out {error:.4f}, {time.monotonic() - began:.0f} s",
                flush=True,
            )
    save_file(folded(head, directions), options.output)


def load_patches(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Return w (N, w_dim), activations (P, h, w, C) and pictures (P, 3, 2h, 2w), P a multiple of N."""
    parts = [(s["w"], s["activations"], s["targets"]) for s in shards(folder)]
    w, activations, targets = (torch.cat(part) for part in zip(*parts, strict=True))
    return w, activations, targets


def influential_directions(source: dict[str, Tensor], w: Tensor) -> Tensor:
    """Return the (`_DIRECTIONS`, w_dim) directions of w that move the skipped levels' styles most."""
    rows = [source[f"{p}.style.weight"] / source[f"{p}.style.bias"].abs().mean() for p in _SKIPPED]
    _, _, right = torch.linalg.svd(torch.cat(rows) * w.std(0), full_matrices=False)
    return right[:_DIRECTIONS] / w.std(0)


def fresh_head(source: dict[str, Tensor], sample: Tensor) -> dict[str, Tensor]:
    """Return a head's parameters, drawn at random with styles of one."""
    width = sample.shape[-1]
    depthwise = torch.zeros(width, 1, 3, 3)
    depthwise[:, :, 1, 1] = 1
    return {
        "conv.style": torch.zeros(width, _DIRECTIONS),
        "conv.style.bias": 1 / sample.std((0, 1, 2)),
        "conv.depthwise": depthwise,
        "conv.kernel": torch.randn(_CHANNELS, width) * math.sqrt(2 / width),
        "conv.bias": torch.zeros(_CHANNELS),
        "style": torch.zeros(_CHANNELS, _DIRECTIONS),
        "style.bias": torch.ones(_CHANNELS),
        "weight": torch.randn(12, _CHANNELS) * math.sqrt(0.2 / _CHANNELS),
        "bias": torch.zeros(12),
    }


def draw(head: dict[str, Tensor], x: Tensor, v: Tensor) -> Tensor:
    """Draw patches, (N, h, w, C) with v (N, `_DIRECTIONS`) -> (N, 3, 2h, 2w), differentiably."""
    style = head["conv.style.bias"] * (1 + v @ head["conv.style"].T)
    planes = functional.conv2d(x.permute(0, 3, 1, 2), head["conv.depthwise"], padding=1, groups=x.shape[-1])
    kernels = (head["conv.kernel"] * style[:, None, :]).transpose(1, 2)
    hidden = planes.permute(0, 2, 3, 1).flatten(1, 2) @ kernels + head["conv.bias"]
    hidden = functional.leaky_relu(hidden, 0.2)
    kernels = (head["weight"] * (head["style.bias"] + v @ head["style"].T)[:, None, :]).transpose(1, 2)
    ll, lh, hl, hh = (hidden @ kernels + head["bias"]).unflatten(1, (PATCH, PATCH)).split(3, -1)
    low_even, low_odd, high_even, high_odd = ll + lh, ll - lh, hl + hh, hl - hh
    even = torch.stack((low_even + high_even, low_even - high_even), 3).flatten(2, 3)
    odd = torch.stack((low_odd + high_odd, low_odd - high_odd), 3).flatten(2, 3)
    return torch.stack((even, odd), 2).flatten(1, 2).permute(0, 3, 1, 2)


def folded(head: dict[str, Tensor], directions: Tensor) -> dict[str, Tensor]:
    """Return the tensors as `models.mobilestylegan.PictureHead` names them."""
    head = {name: value.detach() for name, value in head.items()}
    tensors = {
        "conv.style.weight": head["conv.style.bias"][:, None] * (head["conv.style"] @ directions),
        "conv.style.bias": head["conv.style.bias"],
        "conv.depthwise": head["conv.depthwise"],
        "conv.kernel": head["conv.kernel"][:, :, None, None],
        "conv.noise": torch.zeros(1, 1, 1, 1),
        "conv.bias": head["conv.bias"],
        "style.weight": head["style"] @ directions,
        "style.bias": head["style.bias"],
        "weight": head["weight"][:, :, None, None],
        "bias": head["bias"],
    }
    return {f"heads.{SIDE}.{name}": value.contiguous() for name, value in tensors.items()}


if __name__ == "__main__":
    main()
