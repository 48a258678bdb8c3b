"""Estimates the covariance of w from the mapping network, and keeps it beside the generator's weights.

The Mahalanobis distance (`pipeline.latent_distances`) divides by it. For the default generator, or for
another in a .safetensors file:

    python -m bench.estimate_covariance
    python -m bench.estimate_covariance --generator my-generator.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from models.catalog import GENERATOR
from models.generator import load_generator
from models.latent_covariance import COVARIANCE_KEY, covariance_path, latent_covariance


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--generator", default=GENERATOR)
    arguments.add_argument("--samples", type=int, default=200_000, help="a multiple of 10,000")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    generator = load_generator(options.generator, torch.device("cpu"))
    matrix = latent_covariance(generator.network, options.samples, options.seed)
    named = options.generator == GENERATOR
    weights = generator.folder / f"{GENERATOR}.safetensors" if named else Path(options.generator)
    path = covariance_path(weights)
    save_file({COVARIANCE_KEY: matrix.astype(np.float32)}, path)
    path.chmod(0o644)
    values = np.linalg.eigvalsh(matrix)
    print(f"{path}: eigenvalues from {values[0]:.3g} to {values[-1]:.3g}")


if __name__ == "__main__":
    main()
