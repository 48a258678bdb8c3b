"""Which features a regressor gets: the important ones, and of those that say the same the most important.

Boyaci et al. 2020, "Feature selection": 1000 extremely randomized trees, importance above 5 %, collinear
features dropped. The paper gives no figure for collinear; here it is |R| > 0.9 between two features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

Array = NDArray[np.float64]

TREES = 1000
LEAST_IMPORTANCE = 0.05
GREATEST_CORRELATION = 0.9
_FALLBACK = 5  # as many as the paper keeps


@dataclass(frozen=True, slots=True)
class FeatureSelection:
    """What was kept and why.

    chosen: names, most important first. importance: name -> share of the trees' variance reduction; the
    shares add up to 1. collinear: dropped name -> the kept one that says the same.
    """

    chosen: tuple[str, ...]
    importance: Mapping[str, float]
    collinear: Mapping[str, str]


def select_features(
    names: Sequence[str], features: Array, ratings: Array, seed: int, trees: int = TREES
) -> FeatureSelection:
    """Select among features (M, F), called `names`, by what they tell of ratings (M,).

    Where no feature reaches 5 % (many that are equally worthless), the five most important stay.
    """
    forest = ExtraTreesRegressor(n_estimators=trees, random_state=seed).fit(features, ratings)
    importance = dict(zip(names, (float(v) for v in forest.feature_importances_), strict=True))
    chosen, collinear = choose(names, features, importance)
    return FeatureSelection(chosen, importance, collinear)


def choose(
    names: Sequence[str], features: Array, importance: Mapping[str, float]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Apply both thresholds: return what is kept, and what was dropped for which kept one."""
    ordered = sorted(names, key=lambda name: -importance[name])
    important = [name for name in ordered if importance[name] > LEAST_IMPORTANCE] or ordered[:_FALLBACK]
    column = {name: features[:, n] for n, name in enumerate(names)}
    chosen: list[str] = []
    collinear: dict[str, str] = {}
    for name in important:
        twin = next((c for c in chosen if _correlation(column[name], column[c]) > GREATEST_CORRELATION), None)
        if twin is None:
            chosen.append(name)
        else:
            collinear[name] = twin
    return tuple(chosen), collinear


def _correlation(a: Array, b: Array) -> float:
    """|Pearson's R|; 0 where one of the two does not vary."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return abs(float(a @ b)) / norm if norm > 0 else 0.0
