"""Faces of nobody, drawn by the real generator: any number of them, no photograph of a person needed."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.generated_face import generated_face as drawn
from tests.real_weights import real_generator

_TRUNCATION = 0.7  # a little towards the average face: fewer hats, hands and odd backgrounds


@cache
def generated_face(seed: int) -> NDArray[np.uint8]:
    """A frontal face, uint8 (1024, 1024, 3) RGB, the same for a seed; read-only because it is shared."""
    generator = real_generator()
    z = torch.randn(1, generator.network.w_dim, generator=torch.Generator().manual_seed(seed))
    picture = drawn(generator, z, _TRUNCATION)
    picture.flags.writeable = False
    return picture
