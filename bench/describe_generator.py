"""Writes what the node needs to know about the default generator beside its weights.

Latent statistics over 200,000 seeded draws, the fitted head for smaller pictures and the encoder, in one
safetensors file that ships with facenorm.

    python -m bench.describe_generator --parts head.safetensors encoder.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors.torch import load_file, save_file

from models.cache import cached_path
from models.catalog import GENERATOR
from models.latent_statistics import latent_statistics
from models.mobilestylegan import MobileStyleGAN


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--parts", type=Path, nargs="+", required=True, help="what bench.fit_* wrote")
    arguments.add_argument("--output", type=Path, default=Path("models/data") / f"{GENERATOR}.safetensors")
    options = arguments.parse_args()
    network = MobileStyleGAN(load_file(cached_path(GENERATOR, "generator.safetensors"))).eval()
    parts = {name: value for path in options.parts for name, value in load_file(path).items()}
    save_file(latent_statistics(network) | parts, options.output)


if __name__ == "__main__":
    main()
