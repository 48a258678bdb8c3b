"""How far a drawn face is from the photographed one: the paper's losses L_S beside the perceptual one.

Boyaci et al. 2020, "Methods": pixel, structural, perceptual. LPIPS, the paper's choice, is a trunk of its own
(`models.lpips`), with AlexNet or VGG-16; the other two are here. Pictures are masked before they come.
"""

from __future__ import annotations

from typing import Protocol

import torch
from pytorch_msssim import ms_ssim
from torch import Tensor
from torch.nn import functional

from models.window import Window

PERCEPTUAL_TRUNKS = {"perceptual": "alexnet", "perceptual_vgg16": "vgg16"}
"""The trunk of each perceptual similarity, by the name that a profile gives it."""

SIMILARITIES = (*PERCEPTUAL_TRUNKS, "structural", "pixel")
"""Every similarity, by the name that a profile gives it."""

LEAST_STRUCTURAL_SIDE = 161
"""MS-SSIM halves a picture four times, and its window of 11 px must still fit."""


class PictureDistance(Protocol):
    """A distance of drawn pictures to one photograph that it knows."""

    def __call__(self, drawn: Tensor) -> Tensor:
        """Return L_S (N,) for masked pictures (N, 3, H, W) in [-1, 1]."""


class PixelDistance:
    """The mean absolute error inside the mask, of pictures in [0, 1]: a share of the full range, in [0, 1].

    Which pixel error the paper means is our reading, too: the absolute one has a size near that of LPIPS, so
    that one lambda serves both.
    """

    def __init__(self, target: Tensor, mask: Tensor) -> None:
        """target: (1, 3, H, W) in [-1, 1], masked; mask: (1, 1, H, W) in [0, 1]."""
        self._target, self._mask = target, mask

    def __call__(self, drawn: Tensor) -> Tensor:
        """Return L_S (N,) for masked pictures (N, 3, H, W) in [-1, 1]."""
        error = ((drawn - self._target) / 2).abs().mean(1, keepdim=True)
        return (error * self._mask).sum((1, 2, 3)) / self._mask.sum()


class StructuralDistance:
    """(1 - MS-SSIM) / 2 over the whole frame, mid-grey outside the mask, as in the feature d_xstr; in [0, 1].

    Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment", 2003.
    """

    def __init__(self, target: Tensor, window: Window) -> None:
        """target: (1, 3, H, W) in [-1, 1], masked: what `window` holds of the frame.

        Raises ValueError for a frame smaller than `LEAST_STRUCTURAL_SIDE`.
        """
        if window.side < LEAST_STRUCTURAL_SIDE:
            raise ValueError(
                f"MS-SSIM needs pictures of {LEAST_STRUCTURAL_SIDE} px or more, not {window.side} px"
            )
        self._padding = (
            window.left,
            window.side - window.right,
            window.top,
            window.side - window.bottom,
        )
        self._target = self._whole(target)

    def __call__(self, drawn: Tensor) -> Tensor:
        """Return L_S (N,) for masked pictures (N, 3, H, W) in [-1, 1]."""
        whole = self._whole(drawn)
        similarity: Tensor = ms_ssim(whole, self._target.expand_as(whole), data_range=1.0, size_average=False)
        return (1 - similarity) / 2

    def _whole(self, pictures: Tensor) -> Tensor:
        """Return the whole frame in [0, 1]; what is outside the window is outside the mask, so mid-grey."""
        return (functional.pad(pictures, self._padding) + 1) / 2


def picture_distance(similarity: str, target: Tensor, mask: Tensor, window: Window) -> PictureDistance | None:
    """Return the distance called `similarity`, or None for a perceptual one.

    target: (1, 3, H, W) masked, mask: (1, 1, H, W), both cut to `window`. Raises ValueError for another name.
    """
    with torch.no_grad():
        if similarity == "pixel":
            return PixelDistance(target, mask)
        if similarity == "structural":
            return StructuralDistance(target, window)
    if similarity in PERCEPTUAL_TRUNKS:
        return None
    raise ValueError(f"similarity must be one of {', '.join(SIMILARITIES)}, not {similarity!r}")
