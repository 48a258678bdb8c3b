"""A face of nobody, drawn from a random z: what experiments, tests and the demo look at."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from models.generator import Generator
from pipeline.features import to_picture


@torch.no_grad()
def generated_face(generator: Generator, z: torch.Tensor, truncation: float) -> NDArray[np.uint8]:
    """Draw the face of z (1, w_dim), float32 on any device: uint8 (side, side, 3) RGB, the generator's side.

    truncation: how far from the average face the drawn one is, as a share of the way that z goes;
    below 1, as is usual with StyleGAN, there are fewer hats, hands and odd backgrounds.
    """
    w = generator.network.mapping(z.to(generator.device))
    return to_picture(generator.network.synthesis(generator.w_avg + truncation * (w - generator.w_avg))[0])
