"""Where a face deviates from its normalized version, in figures: features beyond the paper's five.

The paper's features are means over the face, and people differ from what a generator draws of them by more
than a mild anomaly adds to a mean. An anomaly is in one place and mostly on one side: these look for that.
All are taken inside the mask at `FEATURE_SIDE` px, on maps smoothed over `_SMOOTHING` px.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LOCAL_FEATURES = ("l_p99", "l_contrast", "l_asymmetry", "c_p99", "c_asymmetry")
"""Names, in order.

l_p99: 99th percentile of the LPIPS map (no unit). l_contrast: its 98th percentile minus its median.
l_asymmetry: mean difference between the map and its mirror image. c_p99: 99th percentile of the colour
deviation, the distance in the opponent axes (R - G, (R + G) / 2 - B) of pictures in [0, 1], the mean
deviation taken off. c_asymmetry: mean difference between the colour deviation and its mirror image.
"""

_SMOOTHING = 9


def local_features(perceptual: Tensor, raw: Tensor, drawn: Tensor, mask: Tensor) -> list[dict[str, float]]:
    """Return the local features of each of N normalized pictures, by name.

    perceptual: LPIPS maps (N, 1, S, S). raw: (N or 1, 3, S, S), drawn: (N, 3, S, S), both in [-1, 1]. mask:
    (N or 1, 1, S, S), counted where at least half covered. Mirror images are taken about the frame's middle,
    where alignment has put the face's.
    """
    inside = mask[:, 0] > 0.5
    both = inside & inside.flip(-1)
    local = smoothed(perceptual)[:, 0]
    shift = _opponent(raw) - _opponent(drawn)
    shift = shift - _mean_inside(shift, inside[:, None])[..., None, None]
    colour = smoothed(shift * mask).square().sum(1).sqrt()
    median, high, highest = _quantiles(local, inside, (0.5, 0.98, 0.99))
    (strongest,) = _quantiles(colour, inside, (0.99,))
    figures = (
        highest,
        high - median,
        _mean_inside((local - local.flip(-1)).abs(), both),
        strongest,
        _mean_inside((colour - colour.flip(-1)).abs(), both),
    )
    return [dict(zip(LOCAL_FEATURES, row, strict=True)) for row in torch.stack(figures, 1).tolist()]


def _mean_inside(values: Tensor, inside: Tensor) -> Tensor:
    """(..., S, S) -> (...), the mean of the pixels inside."""
    return (values * inside).sum((-2, -1)) / inside.sum((-2, -1))


def _quantiles(values: Tensor, inside: Tensor, shares: tuple[float, ...]) -> Tensor:
    """(N, S, S) -> (shares, N), of the pixels inside: not picked out, which would have a GPU wait."""
    known = torch.where(inside, values, torch.nan).flatten(1)
    return torch.nanquantile(known, torch.tensor(shares, device=values.device), dim=1)


def smoothed(maps: Tensor) -> Tensor:
    """Return maps (N, C, S, S), each pixel the mean of the `_SMOOTHING` px square around it in the frame."""
    return functional.avg_pool2d(maps, _SMOOTHING, stride=1, padding=_SMOOTHING // 2, count_include_pad=False)


def _opponent(pictures: Tensor) -> Tensor:
    """(N, 3, S, S) in [-1, 1] -> (N, 2, S, S), red-green and yellow-blue of the picture in [0, 1]."""
    red, green, blue = ((pictures + 1) / 2).unbind(1)
    return torch.stack((red - green, (red + green) / 2 - blue), 1)
