"""Draws the figures of docs/method.md: the grid of the nine losses and a strip of iterates.

The face is generated and the anomaly drawn, both from a seed; the pictures are those of the commands
`facenorm losses` and `facenorm iterates`, which take any photograph.

    python -m bench.method_figures
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dicom_node.commands.method_pictures import iterates, losses
from models.catalog import GENERATOR
from models.generator import choose_device, load_generator
from models.lpips import load_metric
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.face import load_face_finder
from pipeline.generated_face import generated_face
from pipeline.measurement import FaceMeasurer
from pipeline.profile import Profile
from pipeline.stopwatch import Stopwatch

_TRUNCATION, _SEVERITY = 0.7, 1.0


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--seed", type=int, default=15, help="which face")
    arguments.add_argument("--steps", type=int, default=100, help="for each of the nine")
    arguments.add_argument("--folder", type=Path, default=Path("docs/images"))
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photograph = Path(folder) / "photograph.png"
        Image.fromarray(deformed_face(options.seed)).save(photograph)
        losses(photograph, options.folder / "losses.png", steps=options.steps)
        iterates(photograph, options.folder / "iterates.png", profile="reference")


def deformed_face(seed: int) -> NDArray[np.uint8]:
    """Return a generated face with a drawn anomaly, uint8 RGB (1024, 1024, 3); it is nobody's."""
    generator = load_generator(GENERATOR, choose_device("auto"))
    z = torch.randn(1, generator.network.w_dim, generator=torch.Generator().manual_seed(seed))
    picture = generated_face(generator, z, _TRUNCATION)
    profile = Profile.from_card(generator.card.profiles["reference"])
    measurer = FaceMeasurer(generator, load_metric(generator.device), load_face_finder(), profile, 0)
    found = measurer.locate(picture, Stopwatch())
    landmarks = found.alignment.to_photograph(found.landmarks)
    return draw_anomaly(picture, landmarks, AnomalyKind.CLEFT_LIP, _SEVERITY, seed)


if __name__ == "__main__":
    main()
