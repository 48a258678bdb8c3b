"""Writes what the original graph of the default generator answers, computed by OpenVINO itself.

OpenVINO is needed for this script only, never by the product or its tests:

    pip install openvino
    python -m tests.data.make_generator_reference FOLDER

FOLDER holds {Mapping,Synthesis}Network.{xml,bin} out of the archive that the catalog names.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from models.cache import file_sha256
from models.catalog import CATALOG, GENERATOR

HERE = Path(__file__).parent
SEEDS = (1, 2)
OFFSET, STRIDE = 8, 31  # the sample runs through every phase of the wavelets: 31 is odd


def compiled(file: Path) -> openvino.CompiledModel:
    # On processors that have bfloat16 OpenVINO would otherwise compute in it.
    return openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("folder", type=Path)
    folder: Path = arguments.parse_args().folder
    for member in CATALOG[GENERATOR].members:
        if file_sha256(folder / member.name) != member.sha256:
            arguments.error(f"{member.name} is not the file that the catalog names")
    mapping = compiled(folder / "MappingNetwork.xml")
    synthesis = compiled(folder / "SynthesisNetwork.xml")
    z = np.stack([np.random.default_rng(seed).standard_normal(512) for seed in SEEDS]).astype(np.float32)
    w = np.concatenate([answer(mapping, row[None]) for row in z])
    pictures = np.concatenate([answer(synthesis, row[None]) for row in w])
    np.savez_compressed(
        HERE / "generator_reference.npz",
        z=z,
        w=w,
        offset=OFFSET,
        stride=STRIDE,
        sample=pictures[:, :, OFFSET::STRIDE, OFFSET::STRIDE],
        mean=pictures.mean((2, 3), dtype=np.float64),
        std=pictures.std((2, 3), dtype=np.float64),
    )


def answer(model: openvino.CompiledModel, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(model(batch)[model.output(0)], dtype=np.float32)


if __name__ == "__main__":
    main()
