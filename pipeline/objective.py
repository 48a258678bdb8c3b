"""What is minimised: how far a drawn face is from a photographed one, and from the average."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from models.generator import Generator
from models.lpips import Lpips
from models.window import Window
from pipeline.averageness import AVERAGENESS
from pipeline.similarity import picture_distance

_GRID = 16  # pixels between the positions of AlexNet's last layers
_MARGIN = 32  # the margin around the masked face is this share of the side


class Objective:
    """Similarity and averageness of latents to one face, the face's features computed once."""

    def __init__(
        self,
        generator: Generator,
        metric: Lpips,
        x_raw: Tensor,
        mask: Tensor,
        metric_resolution: int,
        draw_resolution: int = 0,
        similarity: str = "perceptual",
        averageness: str = "mean_absolute",
    ) -> None:
        """Prepare the comparison; similarity, averageness: names of `pipeline.similarity` and `.averageness`.

        Raises ValueError for an unknown similarity, KeyError for an unknown averageness.
        """
        self.generator, self.metric, self.side = generator, metric, metric_resolution
        least = max(metric_resolution, draw_resolution)
        resolutions = generator.network.resolutions
        self._drawn_side = min((r for r in resolutions if r >= least), default=resolutions[-1])
        whole = functional.interpolate(mask[None, None], (self.side,) * 2, mode="area")
        self.window = face_window(whole[0, 0])
        scale, rest = divmod(self._drawn_side, self.side)
        if rest or not scale:  # no whole number of drawn pixels makes one of the metric's
            self.window = Window.whole(self.side)
        self._drawn_window = Window.whole(self._drawn_side) if rest else self.window.scaled(scale)
        self.mask = whole[..., self.window.rows, self.window.columns]
        masked = resized(x_raw[None], self.side)[..., self.window.rows, self.window.columns] * self.mask
        with torch.no_grad():
            self._target = metric.features(masked)
        self._weights = metric.tap_weights(self.mask, self._target)
        self._distance = picture_distance(similarity, masked, self.mask, self.window)
        self._averageness = AVERAGENESS[averageness]

    def terms(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return L_S and L_A, each (N,), for latents (N, w_dim)."""
        if self._distance is None:
            similarity = self.metric.distance(self._features(w), self._target, self._weights)
        else:
            similarity = self._distance(self._drawn(w))
        return similarity, self._averageness(w, self.generator.w_avg)

    def weighted_features(self, w: Tensor) -> list[Tensor]:
        """Return the features of each tap, such that L_S is the sum of their squared differences."""
        return [tap * share.sqrt() for tap, share in zip(self._features(w), self._weights, strict=True)]

    def _features(self, w: Tensor) -> tuple[Tensor, ...]:
        return self.metric.features(self._drawn(w))

    def _drawn(self, w: Tensor) -> Tensor:
        drawn = self.generator.network.synthesis(w, self._drawn_side, self._drawn_window)
        return resized_to(drawn, (self.mask.shape[-2], self.mask.shape[-1])) * self.mask


def face_window(mask: Tensor) -> Window:
    """Return the part of the picture that holds the mask (side, side), with a margin.

    Its edges lie on the metric's coarsest grid, so that features fall where those of the whole picture do.
    """
    side = mask.shape[-1]
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    margin = side // _MARGIN
    edges = [
        (int(low) - margin) // _GRID * _GRID if n == 0 else -(-(int(low) + 1 + margin) // _GRID) * _GRID
        for found in (rows, columns)
        for n, low in enumerate((found[0], found[-1]))
    ]
    return Window(side, *(min(side, max(0, edge)) for edge in edges))


def resized(pictures: Tensor, side: int) -> Tensor:
    """Return (N, C, side, side): averaged over area when smaller, bilinear when larger."""
    return resized_to(pictures, (side, side))


def resized_to(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (N, C, *size): averaged over area when smaller, bilinear when larger."""
    if pictures.shape[-2:] == size:
        return pictures
    if pictures.shape[-1] > size[1]:
        return functional.interpolate(pictures, size, mode="area")
    return functional.interpolate(pictures, size, mode="bilinear", align_corners=False)
