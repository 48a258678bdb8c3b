"""Which region of a face deviates, and how much of the deviation is its own.

People differ from what a generator draws of them everywhere, and in some places more than in others: an eye
or a mouth usually deviates more than a cheek. So every region is held against what it usually deviates on
generated faces without an anomaly, and against the rest of the same face, which some people's light or beard
makes deviate everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from models.generator_card import GeneratorCard, GeneratorError
from pipeline.face_regions import REGIONS, FaceRegion, region_labels


@dataclass(frozen=True, slots=True)
class RegionBaseline:
    """usual: what each region deviates on undeformed generated faces, as `region_deviation` gives it."""

    usual: Mapping[str, float]

    def __post_init__(self) -> None:
        """Raise ValueError unless every region has a finite value above zero."""
        missing = set(REGIONS) - self.usual.keys()
        if missing or not all(math.isfinite(v) and v > 0 for v in self.usual.values()):
            raise ValueError(f"a baseline needs a number above zero for each of {', '.join(REGIONS)}")
        object.__setattr__(self, "usual", MappingProxyType(dict(self.usual)))

    @staticmethod
    def of_card(card: GeneratorCard) -> RegionBaseline | None:
        """Return the card's, None where it has none; raises GeneratorError for what cannot be one."""
        if not card.regions:
            return None
        try:
            return RegionBaseline({name: float(value) for name, value in card.regions["usual"].items()})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GeneratorError(f"the card of {card.name}: regions: {error}") from error


def shares_of_face(
    anomaly_map: NDArray[np.float32], landmarks: NDArray[np.float64], baseline: RegionBaseline | None
) -> dict[str, float]:
    """Return the shares (`region_shares`) of a face by its map (S, S), 0 off the mask, and its landmarks."""
    labels = region_labels(landmarks, anomaly_map.shape[0])
    return region_shares(region_deviation(anomaly_map, labels), baseline)


def region_deviation(anomaly_map: NDArray[np.float32], labels: NDArray[np.uint8]) -> dict[FaceRegion, float]:
    """Return the mean of the map in each region, so that a large region has no advantage; without a unit.

    anomaly_map: (S, S), 0 off the mask, which does not count. labels: (S, S), by `region_labels`. A region of
    which nothing is inside the mask has 0.
    """
    inside = anomaly_map > 0
    found = {}
    for label, region in enumerate(REGIONS):
        values = anomaly_map[(labels == label) & inside]
        found[region] = float(values.mean(dtype=np.float64)) if values.size else 0.0
    return found


def region_shares(
    deviation: Mapping[FaceRegion, float], baseline: RegionBaseline | None = None
) -> dict[str, float]:
    """Return each region's share of the deviation per area, in [0, 1], the greatest first; they sum to 1.

    With a baseline, a region counts by how far its deviation exceeds what is usual for it: with r the ratio
    of the two and m the median of r over the face, by max(0, r / m - 1). Where nothing exceeds the usual
    all shares are 0. Without a baseline it counts by its deviation itself.
    """
    if baseline is None:
        weight = dict(deviation)
    else:
        ratio = {region: value / baseline.usual[region] for region, value in deviation.items()}
        middle = float(np.median(list(ratio.values()))) if ratio else 0.0
        weight = {r: max(0.0, v / middle - 1) if middle > 0 else 0.0 for r, v in ratio.items()}
    total = sum(weight.values())
    shares = {str(r): (w / total if total > 0 else 0.0) for r, w in weight.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
