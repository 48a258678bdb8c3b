"""Draws generated faces once for the fits that need many: the picture head and the encoder.

Each shard holds, for 100 faces: w, the 256 px picture (area-averaged from the full one, uint8), and some
patches of the activations before a head with the picture under them.

    python -m bench.drawn_faces --faces 2400 --output out/faces
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch.nn import functional

from models.allocator import keep_freed_memory
from models.cache import cached_path
from models.catalog import GENERATOR
from models.mobilestylegan import MobileStyleGAN

SHARD = 100
SIDE = 256
PATCH = 24
"""Side of a patch, in pixels of the activations (SIDE / 2)."""
_PATCHES = 4
_SPREAD = 0.5  # in standard deviations of w


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--faces", type=int, default=2400)
    arguments.add_argument("--seed", type=int, default=100)
    arguments.add_argument("--output", type=Path, default=Path("out/faces"))
    arguments.add_argument("--part", default="0/1", help="I/N: draw only every N-th shard, to share the work")
    options = arguments.parse_args()
    part, parts = (int(n) for n in options.part.split("/"))
    keep_freed_memory()
    options.output.mkdir(parents=True, exist_ok=True)
    network = MobileStyleGAN(load_file(cached_path(GENERATOR, "generator.safetensors"))).eval()
    for shard in track(range(part, options.faces // SHARD, parts), description="drawing"):
        path = options.output / f"{shard:04d}.safetensors"
        if not path.exists():
            torch.manual_seed(options.seed + shard)
            partial = path.with_suffix(".part")
            save_file(draw_shard(network), partial)
            partial.rename(path)


@torch.no_grad()
def draw_shard(network: MobileStyleGAN) -> dict[str, torch.Tensor]:
    """Return `SHARD` faces: w, pictures (uint8), patch activations (float16) and patch pictures (float16)."""
    w = network.mapping(torch.randn(SHARD, network.w_dim))
    # An optimisation ends beside the mapping's own distribution: every second face is drawn there.
    w[1::2] += _SPREAD * w.std(0) * torch.randn(SHARD // 2, network.w_dim)
    pictures, activations, targets = [], [], []
    for row in w[:, None]:
        features = network.features(row, SIDE // 2)
        picture = functional.interpolate(network.synthesis(row), (SIDE, SIDE), mode="area")[0]
        pictures.append(((picture.clamp(-1, 1) + 1) * 127.5).round().byte())
        for r, c in torch.randint(SIDE // 16, SIDE // 2 - PATCH - SIDE // 24, (_PATCHES, 2)).tolist():
            activations.append(features[0, r : r + PATCH, c : c + PATCH].half())
            targets.append(picture[:, 2 * r : 2 * (r + PATCH), 2 * c : 2 * (c + PATCH)].half())
    return {
        "w": w,
        "pictures": torch.stack(pictures),
        "activations": torch.stack(activations).contiguous(),
        "targets": torch.stack(targets).contiguous(),
    }


def shards(folder: Path) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the shards in `folder` in order."""
    for path in sorted(folder.glob("*.safetensors")):
        yield load_file(path)


if __name__ == "__main__":
    main()
