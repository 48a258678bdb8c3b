"""Fits a head that draws a smaller picture from an earlier level of the generator.

Upstream trained such a head at every level and kept only the last, so that a 256 px picture costs the
whole 1024 px network. This fits one again: the target is the full picture, area-averaged; the data are
patches of generated faces; a bank of them is renewed all the time.

    python -m bench.fit_picture_head --resolution 256 --generator G.safetensors --output head.safetensors
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch.nn import functional

from models.mobilestylegan import MobileStyleGAN, PictureHead


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--generator", type=Path, required=True, help="converted generator, safetensors")
    arguments.add_argument("--resolution", type=int, default=256)
    arguments.add_argument("--faces", type=int, default=96, help="faces in the bank")
    arguments.add_argument("--steps", type=int, default=3000)
    arguments.add_argument("--patches", type=int, default=8, help="patches a step")
    arguments.add_argument(
        "--channels", type=int, default=64, help="width of the styled convolution before the head"
    )
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--output", type=Path, required=True)
    options = arguments.parse_args()
    torch.manual_seed(options.seed)
    generator = MobileStyleGAN(load_file(options.generator)).eval()
    bank = [draw(generator, options.resolution) for _ in track(range(options.faces), description="faces")]
    tensors = fresh_head(
        generator, options.resolution, options.channels, torch.cat([face[1] for face in bank[:8]])
    )
    began, errors = time.monotonic(), []
    optimiser = torch.optim.Adam([t.requires_grad_() for t in tensors.values()], lr=2e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=options.steps)
    for n in range(options.steps):
        if n % 25 == 24:
            bank[(n // 25) % len(bank)] = draw(generator, options.resolution)
        w, features, target = patches(bank, options.patches)
        drawn = PictureHead(tensors, f"heads.{options.resolution}")(features, w)
        loss = functional.mse_loss(drawn, target)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tensors.values(), 1.0)
        optimiser.step()
        schedule.step()
        errors.append(math.sqrt(loss.item()))
        if n % 100 == 99:
            print(
                f"step {n + 1}: rms error {sum(errors[-100:]) / 100:.4f}, {time.monotonic() - began:.0f} s",
                flush=True,
            )
            save_file({k: v.detach().clone() for k, v in tensors.items()}, options.output)


Face = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
_PATCH = 40  # side of a patch, in feature pixels


def draw(generator: MobileStyleGAN, resolution: int) -> Face:
    """Return w, the features before the head and the picture to draw, for one new face."""
    with torch.no_grad():
        w = generator.mapping(torch.randn(1, generator.w_dim))
        features = generator.features(w, resolution // 2)
        return w, features, functional.interpolate(generator.synthesis(w), (resolution,) * 2, mode="area")


def patches(bank: list[Face], count: int) -> Face:
    """Return `count` random patches, most of them from the middle, where the face is."""
    chosen = [bank[n] for n in torch.randint(len(bank), (count,)).tolist()]
    side = bank[0][1].shape[-1]
    features, targets = [], []
    for _, feature, picture in chosen:
        row, column = (int(v) for v in torch.randint(side // 8, side - _PATCH - side // 12, (2,)))
        features.append(feature[:, :, row : row + _PATCH, column : column + _PATCH])
        targets.append(picture[:, :, 2 * row : 2 * (row + _PATCH), 2 * column : 2 * (column + _PATCH)])
    return torch.cat([face[0] for face in chosen]), torch.cat(features), torch.cat(targets)


def fresh_head(
    generator: MobileStyleGAN, resolution: int, channels: int, sample: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return a head's tensors, drawn at random with a style scale of one."""
    place = f"heads.{resolution}"
    width, spread = sample.shape[1], sample.std((0, 2, 3))
    tensors = {
        f"{place}.conv.style.weight": torch.zeros(width, generator.w_dim),
        f"{place}.conv.style.bias": 1 / spread,
        f"{place}.conv.depthwise": torch.zeros(width, 1, 3, 3),
        f"{place}.conv.kernel": torch.randn(channels, width, 1, 1) * math.sqrt(2 / width),
        f"{place}.conv.noise": torch.zeros(1, 1, 1, 1),
        f"{place}.conv.bias": torch.zeros(channels),
        f"{place}.style.weight": torch.zeros(channels, generator.w_dim),
        f"{place}.style.bias": torch.ones(channels),
        f"{place}.weight": torch.randn(12, channels, 1, 1) * math.sqrt(1 / channels),
        f"{place}.bias": torch.zeros(12),
    }
    tensors[f"{place}.conv.depthwise"][:, :, 1, 1] = 1
    return tensors


if __name__ == "__main__":
    main()
