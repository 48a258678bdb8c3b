"""What a method sees between the photograph before a treatment and the one after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def detected_difference(before: float, after: float) -> float:
    """Return (after - before) / before in percent, for two scores that are higher for more normal faces.

    The paper (Boyaci et al. 2020, "Results") prints figures of it and no formula; this one is taken for every
    method alike. Raises ValueError unless `before` is above zero.
    """
    if before <= 0:
        raise ValueError(f"the score before is {before}; a share of it needs one above zero")
    return 100 * (after - before) / before


@dataclass(frozen=True, slots=True)
class PairSummary:
    """What a method says of a set of pairs: how many, mean detected difference, share called improved (%)."""

    pairs: int
    mean_difference: float
    improved: float


def summarised(pairs: Sequence[tuple[float, float]]) -> PairSummary:
    """Summarise pairs of scores (before, after); a pair is called improved when its score has risen.

    Raises ValueError without a pair.
    """
    if not pairs:
        raise ValueError("there is no pair to summarise")
    differences = [detected_difference(before, after) for before, after in pairs]
    improved = sum(difference > 0 for difference in differences)
    return PairSummary(len(pairs), sum(differences) / len(pairs), 100 * improved / len(pairs))
