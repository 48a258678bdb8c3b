"""Draws many generated faces at 256 px through the fitted head: cheap data for the encoder.

python -m bench.drawn_pictures --faces 3000 --output out/pictures
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.progress import track
from safetensors.torch import load_file, save_file

from bench.drawn_faces import SHARD, SIDE
from models.allocator import keep_freed_memory
from models.cache import cached_path
from models.catalog import GENERATOR
from models.mobilestylegan import MobileStyleGAN


@torch.no_grad()
def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--faces", type=int, default=3000)
    arguments.add_argument("--head", type=Path, required=True, help="what bench.fit_picture_head wrote")
    arguments.add_argument("--seed", type=int, default=50_000)
    arguments.add_argument("--output", type=Path, default=Path("out/pictures"))
    options = arguments.parse_args()
    keep_freed_memory()
    options.output.mkdir(parents=True, exist_ok=True)
    tensors = load_file(cached_path(GENERATOR, "generator.safetensors")) | load_file(options.head)
    network = MobileStyleGAN(tensors).eval()
    for shard in track(range(options.faces // SHARD), description="drawing"):
        path = options.output / f"{shard:04d}.safetensors"
        if path.exists():
            continue
        torch.manual_seed(options.seed + shard)
        w = network.mapping(torch.randn(SHARD, network.w_dim))
        drawn = torch.cat([network.synthesis(rows, SIDE) for rows in w.split(4)])
        pictures = ((drawn.clamp(-1, 1) + 1) * 127.5).round().byte().contiguous()
        partial = path.with_suffix(".part")
        save_file({"w": w, "pictures": pictures}, partial)
        partial.rename(path)


if __name__ == "__main__":
    main()
