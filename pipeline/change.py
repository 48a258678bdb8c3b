"""Whether two scores of one patient differ by more than scoring the same face twice would."""

from __future__ import annotations

import math
from typing import Final

from pipeline.result import Score

REPEATABILITY_SETTING: Final = "repeatability_sd"
"""Under this name a score's provenance holds the regressor's repeatability, where its card states one."""

_TWO_SIDED_95: Final = 1.96


def repeatability(score: Score) -> float:
    """Return one standard deviation of a score when the same face is photographed and scored anew, in points.

    Where the regressor's card states none, the score's whole uncertainty stands in for it. That holds the
    regressor's error too, which two scores of one face share in part, so a change is called noise too often
    rather than too seldom.
    """
    stated = score.provenance.settings.get(REPEATABILITY_SETTING)
    return float(stated) if isinstance(stated, (int, float)) and stated >= 0 else score.uncertainty


def smallest_change(before: float, after: float) -> float:
    """Return the smallest change that exceeds noise: 1.96 * sqrt(sd^2 + sd^2), in points (95 %).

    before, after: the repeatability of either score (`repeatability`); for equal ones this is the smallest
    detectable change, 1.96 * sqrt(2) * sd.
    """
    return _TWO_SIDED_95 * math.hypot(before, after)


def exceeds_noise(change: float, smallest: float) -> bool:
    """Whether a change in points is larger than the smallest one that exceeds noise."""
    return abs(change) > smallest
