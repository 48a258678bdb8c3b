"""Pixel by pixel distances of a photographed face and a drawn one (Boyaci et al. 2020, "Feature extraction").

Both pictures are taken to [0, 1], so that a distance is a share of the full range. Errors are the differences
of every pixel inside the mask in each of R, G and B; a pixel that the mask covers in part counts in part.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GREATEST_PSNR = 80.0  # identical pictures have no noise at all; a finite figure keeps the feature usable


def picture_distances(drawn: Tensor, raw: Tensor, mask: Tensor) -> list[dict[str, float]]:
    """Return five distances for each of N drawn pictures, with e the error and mean() over the mask.

    - d_xpsnr: peak signal-to-noise ratio, -10 log10(mean(e^2)), in dB, at most 80; lower is farther.
    - d_xmae: mean absolute error, mean(|e|), in [0, 1].
    - d_xmse: mean squared error, mean(e^2), in [0, 1].
    - d_xrmse: its square root, in [0, 1].
    - d_xlogcosh: mean(log(cosh(e))), in [0, log(cosh(1))]; half of d_xmse for small errors.

    drawn: (N, 3, S, S), raw: (N or 1, 3, S, S), both in [-1, 1] and already masked; mask: (N or 1, 1, S, S)
    in [0, 1].
    """
    error = (drawn - raw) / 2

    def mean(values: Tensor) -> Tensor:
        return (values.mean(1, keepdim=True) * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3))

    means = torch.stack((mean(error.abs()), mean(error.square()), mean(error.cosh().log())), 1)
    return [
        {
            "d_xpsnr": min(_GREATEST_PSNR, -10 * math.log10(max(mse, 1e-12))),
            "d_xmae": mae,
            "d_xmse": mse,
            "d_xrmse": math.sqrt(mse),
            "d_xlogcosh": logcosh,
        }
        for mae, mse, logcosh in means.tolist()
    ]
