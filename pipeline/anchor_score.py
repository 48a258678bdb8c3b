"""The baseline from the literature: how near a face is to a fixed set of normal ones, by LPIPS.

The older score that Boyaci et al. 2020 ("Results") hold theirs against: no norm of a face's own, only the
mean perceptual distance to some normal faces, the anchors, the same for everybody. Here they are drawn by the
generator from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.generator import Generator
from models.generator_card import GeneratorCard, GeneratorError
from models.lpips import Lpips
from pipeline.features import FEATURE_SIDE
from pipeline.objective import resized


@dataclass(frozen=True, slots=True)
class Anchors:
    """Which faces: how many, drawn from which seed, how far from the average one (truncation)."""

    count: int = 16
    seed: int = 2020
    truncation: float = 0.7

    @staticmethod
    def of_card(card: GeneratorCard) -> Anchors:
        """Return those that the generator's card names; raises GeneratorError for what cannot be one."""
        try:
            anchors = Anchors(**card.anchors)
        except TypeError as error:
            raise GeneratorError(f"the card of {card.name}: anchors: {error}") from error
        if type(anchors.count) is not int or type(anchors.seed) is not int or anchors.count < 1:
            raise GeneratorError(f"the card of {card.name}: anchors: count and seed must be whole numbers")
        return anchors


class AnchorScorer:
    """Scores faces by 1 minus their mean masked LPIPS to the anchors."""

    def __init__(self, generator: Generator, metric: Lpips, anchors: Anchors) -> None:
        self._metric = metric
        self._pictures = anchor_pictures(generator, anchors)

    @torch.no_grad()
    def score(self, x_raw: Tensor, mask: Tensor) -> float:
        """Return 1 - mean LPIPS of one aligned face and the anchors: higher is more normal, at most 1.

        Every anchor gets the photograph's own mask; the distance is averaged over it, at `FEATURE_SIDE` px.
        x_raw: (3, H, W) in [-1, 1]; mask: (H, W) of 0 and 1.
        """
        small = resized(mask[None, None], FEATURE_SIDE)
        raw = self._metric.features(resized(x_raw[None], FEATURE_SIDE) * small)
        weights = self._metric.tap_weights(small, raw)
        distances = [
            self._metric.distance(self._metric.features(anchor[None] * small), raw, weights)
            for anchor in self._pictures
        ]
        return 1 - float(torch.cat(distances).mean())


@torch.no_grad()
def anchor_pictures(generator: Generator, anchors: Anchors) -> Tensor:
    """Draw the anchors: (count, 3, FEATURE_SIDE, FEATURE_SIDE) in [-1, 1], the same for a seed."""
    network = generator.network
    random = torch.Generator().manual_seed(anchors.seed)
    z = torch.randn(anchors.count, network.w_dim, generator=random).to(generator.device)
    w = generator.w_avg + anchors.truncation * (network.mapping(z) - generator.w_avg)
    # One at a time: the whole network's activations for all of them would take gigabytes.
    return torch.cat([resized(network.synthesis(row).clamp(-1, 1), FEATURE_SIDE) for row in w[:, None]])
