"""What the anomaly network answers, as features: how severe, how strong at most, how large, how one-sided."""

from __future__ import annotations

import torch

from models.anomaly_network import AnomalyAnswer

LEARNED_FEATURES = ("n_severity", "n_peak", "n_size", "n_asymmetry")
"""Names, in order.

n_severity: the severity that the network sees, about 0 to 1 (`pipeline.perceptual_severity`). n_peak: the
map's greatest value. n_size: root of the map's mean square inside the mask. n_asymmetry: mean absolute
difference of the map and its mirror image. The map's unit is the root of local LPIPS.
"""


def learned_features(answer: AnomalyAnswer, inside: torch.Tensor) -> list[dict[str, float]]:
    """Return the features of each of N answers, by name.

    inside: (N or 1, 1, 32, 32), the mask in the map's cells.
    """
    where, size = answer.map, inside.sum((1, 2, 3)).clamp(min=1)
    figures = (
        answer.severity,
        where.amax((1, 2, 3)),
        (where.square().sum((1, 2, 3)) / size).sqrt(),
        (where - where.flip(-1)).abs().sum((1, 2, 3)) / size,
    )
    return [dict(zip(LEARNED_FEATURES, row, strict=True)) for row in torch.stack(figures, 1).tolist()]
