"""Where a face deviates from its normalized version: the local perceptual difference, as a map."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

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


def judged_map(answers: Tensor, side: int) -> NDArray[np.float32]:
    """Return what the anomaly network sees, averaged over the candidates; (side, side), >= 0.

    answers: its maps for each of K normalized pictures (K, 1, cells, cells), which fade out over the mask's
    rim.
    """
    mean = answers.mean(0, keepdim=True)
    large = functional.interpolate(mean, (side,) * 2, mode="bilinear", align_corners=False)
    return np.asarray(large[0, 0].cpu().numpy(), dtype=np.float32)
