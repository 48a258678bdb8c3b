"""Which region of a face deviates, and how much of the deviation is its own.

People differ from what a generator draws of them everywhere, and in some places more than in others: an eye
or a mouth usually deviates more than a cheek. So every region is held against what it usually deviates on
generated faces without an anomaly, and against the rest of the same face, which some people's light or beard
makes deviate everywhere. The anomaly network, where there is one, has a map of its own, which is read alike.
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

_JUDGED_WEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class RegionBaseline:
    """usual: what each region deviates on undeformed generated faces, as `region_deviation` gives it.

    judged: the same of the anomaly network's map, where there is one.
    """

    usual: Mapping[str, float]
    judged: RegionBaseline | None = None

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
            usual, judged = card.regions["usual"], card.regions.get("judged")
            return RegionBaseline(_numbers(usual), RegionBaseline(_numbers(judged)) if judged else None)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GeneratorError(f"the card of {card.name}: regions: {error}") from error


def shares_of_face(
    anomaly_map: NDArray[np.float32],
    landmarks: NDArray[np.float64],
    baseline: RegionBaseline | None,
    judged_map: NDArray[np.float32] | None = None,
) -> dict[str, float]:
    """Return the shares (`region_shares`) of a face by its map (S, S), 0 off the mask, and its landmarks.

    judged_map: the anomaly network's (S, S). Where the baseline knows what is usual for it, shares are the
    mean of those of both maps, in which the network's count twice.
    """
    labels = region_labels(landmarks, anomaly_map.shape[0])
    shares = region_shares(region_deviation(anomaly_map, labels), baseline)
    if judged_map is None or baseline is None or baseline.judged is None:
        return shares
    judged = region_shares(region_deviation(judged_map, labels), baseline.judged)
    both = {region: share + _JUDGED_WEIGHT * judged[region] for region, share in shares.items()}
    return _as_shares(both)


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
    return _as_shares({str(r): w for r, w in weight.items()})


def _as_shares(weight: Mapping[str, float]) -> dict[str, float]:
    """Return the weights so that they sum to 1, where there are any, the greatest first."""
    total = sum(weight.values())
    shares = {region: (w / total if total > 0 else 0.0) for region, w in weight.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _numbers(values: Mapping[str, object]) -> dict[str, float]:
    return {name: float(str(value)) for name, value in values.items()}
