"""Finds averages that faces are pulled to (`pipeline.nearest_average`), and keeps them beside the weights.

Latents of generated faces fall into clusters (k-means); the averages are the clusters' centres. Whether they
narrow gaps between groups of people, and what they cost, is `bench.nearest_average`'s to say. For the default
generator, or for another in a .safetensors file:

    python -m bench.fit_averages
    python -m bench.fit_averages --generator my-generator.safetensors --averages 8
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.cluster import KMeans
from torch import Tensor

from models.catalog import GENERATOR
from models.generator import Generator, load_generator
from models.latent_averages import AVERAGES_KEY, averages_path

_SAMPLES = 20_000


def main() -> None:
    """Find them and write them beside the generator's weights."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--generator", default=GENERATOR)
    arguments.add_argument("--averages", type=int, default=4)
    options = arguments.parse_args()
    if options.averages < 2:
        arguments.error("--averages: 2 or more; one is the generator's own already")
    if options.generator != GENERATOR and Path(options.generator).suffix != ".safetensors":
        arguments.error("--generator: only one in a .safetensors file can have an encoder, which chooses")
    generator = load_generator(options.generator, torch.device("cpu"))
    named = options.generator == GENERATOR
    weights = generator.folder / f"{GENERATOR}.safetensors" if named else Path(options.generator)
    averages = latent_averages(generator, options.averages)
    path = averages_path(weights)
    save_file({AVERAGES_KEY: averages}, path)
    path.chmod(0o644)
    apart = torch.pdist(averages)
    print(f"{path}: {len(averages)} averages, {apart.min():.2f} to {apart.max():.2f} from each other")


def latent_averages(generator: Generator, count: int) -> Tensor:
    """Return `count` averages (count, w_dim): one is the generator's own, several are centres of clusters."""
    if count == 1:
        return generator.w_avg[None]
    z = torch.randn(_SAMPLES, generator.network.w_dim, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        w = generator.network.mapping(z).numpy()
    centres = KMeans(count, n_init=3, random_state=0).fit(w).cluster_centers_
    return torch.from_numpy(centres).to(generator.w_avg)


if __name__ == "__main__":
    main()
