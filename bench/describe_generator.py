"""Writes what the node needs to know about the default generator beside its weights.

Latent statistics over 200,000 seeded draws, and the fitted head for smaller pictures, in one small
safetensors file that ships with facenorm.

    python -m bench.describe_generator --head head.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors.torch import load_file, save_file

from models.cache import cached_path
from models.catalog import GENERATOR
from models.generator import latent_statistics
from models.mobilestylegan import MobileStyleGAN


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--head", type=Path, required=True, help="what bench.fit_picture_head wrote")
    arguments.add_argument("--output", type=Path, default=Path("models/data") / f"{GENERATOR}.safetensors")
    options = arguments.parse_args()
    network = MobileStyleGAN(load_file(cached_path(GENERATOR, "generator.safetensors"))).eval()
    save_file(latent_statistics(network) | load_file(options.head), options.output)


if __name__ == "__main__":
    main()
