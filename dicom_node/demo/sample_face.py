"""A face of nobody, drawn by the generator, and the same face with a drawn anomaly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.catalog import GENERATOR
from models.generator import load_generator
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.face import FaceFinder
from pipeline.generated_face import generated_face

ANOMALY = AnomalyKind.PORT_WINE_STAIN
_SEVERITY = 0.9
_ANOMALY_SEED = 1
# Chosen by eye among the first seeds: an adult, frontal, evenly lit, nothing before the face.
_FACE_SEED = 15
# A little towards the average face, as is usual with StyleGAN: fewer oddities around the face.
_TRUNCATION = 0.7


@dataclass(frozen=True, slots=True)
class SampleFace:
    """Both pictures, uint8 (1024, 1024, 3) RGB."""

    deformed: NDArray[np.uint8]
    undeformed: NDArray[np.uint8]


def draw_sample_face(faces: FaceFinder) -> SampleFace:
    """Draw the face, the same every time; takes about a second.

    It always comes from the default generator, whichever scores it: dlib must find a face in it.
    Raises WeightsMissingError where the weights have not been fetched.
    """
    generator = load_generator(GENERATOR, torch.device("cpu"))
    random = torch.Generator().manual_seed(_FACE_SEED)
    z = torch.randn(1, generator.network.w_dim, generator=random)
    undeformed = generated_face(generator, z, _TRUNCATION)
    landmarks = faces.find(undeformed).landmarks
    return SampleFace(draw_anomaly(undeformed, landmarks, ANOMALY, _SEVERITY, _ANOMALY_SEED), undeformed)
