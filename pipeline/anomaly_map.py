"""Where a face deviates from its normalized version: the local perceptual difference, as a map."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.local_features import smoothed


def anomaly_map(perceptual: Tensor, mask: Tensor) -> NDArray[np.float32]:
    """Return F maps: LPIPS averaged over the candidates, smoothed; (F, S, S), >= 0, no unit, 0 off the mask.

    perceptual: LPIPS maps of each photograph against its K normalized pictures, (F, K, 1, S, S), of the
    finest taps (`pipeline.features.FINE_TAPS`). mask: (F, 1, S, S) in [0, 1], counted where at least half
    covered.
    """
    mean = smoothed(perceptual.mean(1))[:, 0]
    found = torch.where(mask[:, 0] > 0.5, mean, torch.zeros_like(mean))
    return np.asarray(found.cpu().numpy(), dtype=np.float32)


def judged_map(answers: Tensor, side: int) -> NDArray[np.float32]:
    """Return what the anomaly network sees of F faces, averaged over the candidates; (F, side, side), >= 0.

    answers: its maps for each one's K normalized pictures (F, K, 1, cells, cells), which fade out over the
    mask's rim.
    """
    mean = answers.mean(1)
    large = functional.interpolate(mean, (side,) * 2, mode="bilinear", align_corners=False)
    return np.asarray(large[:, 0].cpu().numpy(), dtype=np.float32)
