"""Where a face deviates from its normalized version: the local perceptual difference, as a map."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.local_features import smoothed


def anomaly_map(perceptual: Tensor, mask: Tensor) -> NDArray[np.float32]:
    """Return the map: LPIPS averaged over the candidates, smoothed; (S, S), >= 0, no unit, 0 off the mask.

    perceptual: LPIPS maps of the photograph against each of K normalized pictures, (K, 1, S, S), of the
    finest taps (`pipeline.features.FINE_TAPS`). mask: (1, 1, S, S) in [0, 1], counted where at least half
    covered.
    """
    mean = smoothed(perceptual.mean(0, keepdim=True))[0, 0]
    inside = mask[0, 0] > 0.5
    return np.asarray(torch.where(inside, mean, torch.zeros_like(mean)).cpu().numpy(), dtype=np.float32)
