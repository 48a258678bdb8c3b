"""Local features see an anomaly in one place, on one side, in colour; and not what is everywhere."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.local_features import LOCAL_FEATURES, local_features

SIDE = 64
MASK = torch.ones(1, 1, SIDE, SIDE)


def measured(perceptual: Tensor, raw: Tensor | None = None, drawn: Tensor | None = None) -> dict[str, float]:
    grey = torch.zeros(1, 3, SIDE, SIDE)
    raw, drawn = grey if raw is None else raw, grey if drawn is None else drawn
    (features,) = local_features(perceptual, raw, drawn, MASK)
    return features


def spot(rows: slice, columns: slice) -> Tensor:
    map_ = torch.zeros(1, 1, SIDE, SIDE)
    map_[..., rows, columns] = 1
    return map_


def test_all_are_zero_where_nothing_differs() -> None:
    assert measured(torch.zeros(1, 1, SIDE, SIDE)) == dict.fromkeys(LOCAL_FEATURES, 0.0)


def test_deviation_everywhere_has_a_height_but_no_contrast_and_no_side() -> None:
    features = measured(torch.full((1, 1, SIDE, SIDE), 0.3))
    assert abs(features["l_p99"] - 0.3) < 1e-6
    assert abs(features["l_contrast"]) < 1e-6
    assert abs(features["l_asymmetry"]) < 1e-6


def test_a_spot_on_one_side_is_contrast_and_asymmetry() -> None:
    features = measured(spot(slice(10, 26), slice(4, 20)))
    assert features["l_contrast"] > 0.8
    # The spot and its mirror image both differ from the other side: twice its share of the frame.
    assert abs(features["l_asymmetry"] - 2 * 16 * 16 / SIDE**2) < 0.02


def test_spots_on_both_sides_are_symmetrical() -> None:
    features = measured(spot(slice(10, 26), slice(4, 20)) + spot(slice(10, 26), slice(44, 60)))
    assert features["l_contrast"] > 0.8
    assert abs(features["l_asymmetry"]) < 1e-6


def test_another_white_balance_is_no_colour_anomaly_but_a_red_spot_is() -> None:
    balanced = torch.zeros(1, 3, SIDE, SIDE)
    balanced[:, 0] = 0.2
    nothing = torch.zeros(1, 1, SIDE, SIDE)
    assert measured(nothing, raw=balanced)["c_p99"] < 1e-6
    stained = torch.zeros(1, 3, SIDE, SIDE)
    stained[:, 0, 10:26, 4:20] = 0.4
    features = measured(nothing, raw=stained)
    assert features["c_p99"] > 0.15
    assert features["c_asymmetry"] > 0.01


def test_every_candidate_is_measured_on_its_own() -> None:
    maps = torch.cat([torch.zeros(1, 1, SIDE, SIDE), spot(slice(10, 26), slice(4, 20))])
    grey = torch.zeros(1, 3, SIDE, SIDE)
    first, second = local_features(maps, grey, grey.expand(2, -1, -1, -1), MASK)
    assert first == measured(maps[:1])
    assert second == measured(maps[1:])
