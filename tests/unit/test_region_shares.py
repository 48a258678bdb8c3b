"""The region in which a face deviates comes first: constructed maps, drawn anomalies, the tiny generator."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.generator_card import GeneratorError
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.anomaly_map import anomaly_map, judged_map
from pipeline.face_regions import REGIONS, FaceRegion, region_labels
from pipeline.features import FEATURE_SIDE, FeatureExtractor, to_tensor
from pipeline.mask import face_mask
from pipeline.region_shares import RegionBaseline, region_deviation, region_shares, shares_of_face
from tests.tiny import latents, random_metric, tiny_generator
from tests.unit.test_anomaly import landmarks

USUAL = {region: 0.02 + 0.005 * n for n, region in enumerate(REGIONS)}
BASELINE = RegionBaseline(USUAL)
RIGHT, LEFT = "right", "left"


def usual_map(factor: float = 1.0) -> NDArray[np.float32]:
    """Every region deviates as it usually does, times `factor`; 0 off the mask."""
    values = np.array([USUAL[region] for region in REGIONS])[region_labels(landmarks(), 256)]
    inside = cv2.resize(face_mask(landmarks()), (256, 256), interpolation=cv2.INTER_AREA) > 0.5
    return np.where(inside, factor * values, 0).astype(np.float32)


@pytest.mark.parametrize("region", REGIONS)
def test_a_spot_in_a_region_puts_that_region_first(region: FaceRegion) -> None:
    deviation = usual_map()
    inside = ((region_labels(landmarks(), 256) == REGIONS.index(region)) & (deviation > 0)).astype(np.uint8)
    deepest = np.unravel_index(cv2.distanceTransform(inside, cv2.DIST_L2, 5).argmax(), inside.shape)
    rows, columns = np.mgrid[:256, :256]
    spot = np.exp(-((rows - deepest[0]) ** 2 + (columns - deepest[1]) ** 2) / (2 * 5.0**2))
    drawn = np.where(deviation > 0, deviation + 0.2 * spot, 0).astype(np.float32)
    shares = shares_of_face(drawn, landmarks(), BASELINE)
    assert next(iter(shares)) == region
    assert shares[region] > 0.5


def test_shares_are_the_excess_over_what_is_usual() -> None:
    ratios = [1.0, 1.1, 3.0, 0.5, 1.0, 2.0, 0.9, 1.0, 1.0, 0.8]  # their median is 1
    deviation = {region: r * USUAL[region] for region, r in zip(REGIONS, ratios, strict=True)}
    shares = region_shares(deviation, BASELINE)
    assert list(shares)[:3] == ["left_eye", "lower_lip", "right_eye"]
    assert shares["left_eye"] == pytest.approx(2.0 / 3.1)
    assert shares["lower_lip"] == pytest.approx(1.0 / 3.1)
    assert shares["right_eye"] == pytest.approx(0.1 / 3.1)
    assert sum(shares.values()) == pytest.approx(1)
    # Light that makes a face deviate more everywhere does not move them.
    brighter = region_shares({region: 1.7 * value for region, value in deviation.items()}, BASELINE)
    assert brighter == pytest.approx(shares)


def test_the_networks_map_counts_twice_beside_the_other_where_its_baseline_is_known() -> None:
    labels = region_labels(landmarks(), 256)
    usual = usual_map()

    def raised(region: str) -> NDArray[np.float32]:
        at = labels == list(map(str, REGIONS)).index(region)
        return np.where(at, 3 * usual, usual).astype(np.float32)

    both = RegionBaseline(USUAL, judged=RegionBaseline(USUAL))
    shares = shares_of_face(raised("nose"), landmarks(), both, raised("left_cheek"))
    assert list(shares)[:2] == ["left_cheek", "nose"]
    assert shares["left_cheek"] == pytest.approx(2 / 3, abs=0.02)
    assert shares["nose"] == pytest.approx(1 / 3, abs=0.02)
    alone = shares_of_face(raised("nose"), landmarks(), BASELINE)
    for baseline, judged in ((BASELINE, raised("left_cheek")), (both, None)):
        assert shares_of_face(raised("nose"), landmarks(), baseline, judged) == alone


def test_what_the_network_sees_is_enlarged() -> None:
    answers = torch.zeros(2, 1, 32, 32)
    answers[:, 0, 10, 20] = torch.tensor([0.2, 0.6])
    (found,) = judged_map(answers[None], 256)
    assert found.shape == (256, 256)
    assert found.max() == pytest.approx(0.4, rel=0.15)
    assert [n // 8 for n in np.unravel_index(found.argmax(), found.shape)] == [10, 20]


def test_a_face_that_deviates_everywhere_alike_deviates_nowhere() -> None:
    alike = {region: 4 * usual for region, usual in USUAL.items()}
    assert set(region_shares(alike, BASELINE).values()) == {0.0}
    assert set(region_shares(dict.fromkeys(REGIONS, 0.0), BASELINE).values()) == {0.0}
    assert set(region_shares(dict.fromkeys(REGIONS, 0.0)).values()) == {0.0}


def test_without_a_baseline_size_is_no_advantage() -> None:
    even = (usual_map() > 0).astype(np.float32)
    shares = shares_of_face(even, landmarks(), None)
    assert list(shares.values()) == pytest.approx([1 / len(REGIONS)] * len(REGIONS))


def test_deviation_is_the_mean_inside_the_mask() -> None:
    labels = np.zeros((4, 4), np.uint8)
    labels[:, 2:] = 3
    values = np.array([[1, 3, 5, 0], [0, 0, 7, 0], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    found = region_deviation(values, labels)
    assert (found[REGIONS[0]], found[REGIONS[3]], found[REGIONS[1]]) == (2, 6, 0)


def test_a_baseline_that_cannot_be_one_is_refused() -> None:
    card = tiny_generator().card
    assert RegionBaseline.of_card(replace(card, regions={})) is None
    told = replace(card, regions={"usual": {str(region): 0.1 for region in REGIONS}})
    assert RegionBaseline.of_card(told) == RegionBaseline(dict.fromkeys(map(str, REGIONS), 0.1))
    half = {"usual": USUAL, "judged": {"nose": 0.1}}
    for wrong in (
        {"usual": {"nose": 0.1}}, {"usual": dict(USUAL, nose=0.0)}, {"usual": 3}, {"other": {}}, half,
    ):  # fmt: skip
        with pytest.raises(GeneratorError, match="regions"):
            RegionBaseline.of_card(replace(card, regions=wrong))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (AnomalyKind.CLEFT_LIP, {"upper_lip"}),
        (AnomalyKind.NOSE_DEVIATION, {"nose"}),
        (AnomalyKind.EYELID_DROOP, {"right_eye", "left_eye"}),
        (AnomalyKind.EYE_DISPLACED, {"right_eye", "left_eye"}),
        (AnomalyKind.CHIN_SMALL, {"chin_and_jaw", "lower_lip"}),
        (AnomalyKind.JAW_DEVIATION, {"chin_and_jaw", "lower_lip"}),
    ],
)
def test_what_is_drawn_in_a_place_is_found_there(kind: AnomalyKind, expected: set[str]) -> None:
    """The map is what was drawn itself: labels and shares are on trial, not generator and metric."""
    rng = np.random.default_rng(7)
    face = cv2.resize(rng.uniform(60, 200, (120, 120, 3)).astype(np.float32), (1024, 1024))
    face = face.astype(np.uint8)
    firsts = set()
    for seed in range(6):
        drawn = draw_anomaly(face, landmarks(), kind, 0.8, seed)
        change = np.abs(drawn.astype(np.float32) - face).mean(2) * face_mask(landmarks())
        small = cv2.resize(change, (256, 256), interpolation=cv2.INTER_AREA)
        shares = shares_of_face(small.astype(np.float32), landmarks(), None)
        first = next(iter(shares))
        firsts.add(first)
        if first.startswith((RIGHT, LEFT)):
            half = RIGHT if change[:, :512].sum() > change[:, 512:].sum() else LEFT
            assert first.startswith(half)
    assert firsts <= expected


def test_the_map_of_a_drawn_face_shows_where_it_was_changed() -> None:
    network = tiny_generator().network
    with torch.no_grad():
        picture = network.synthesis(latents(1, seed=3))[0].clamp(-1, 1)
    raw = torch.nn.functional.interpolate(picture[None], (1024, 1024), mode="bilinear")[0]
    mask = torch.from_numpy(face_mask(landmarks()))
    changed = raw.clone()
    changed[:, 455:505, 605:675] *= -1  # the eye that lies right in the picture
    extractor = FeatureExtractor(random_metric(), changed[None], mask[None])
    candidates = torch.stack((raw, (raw + 0.02).clamp(-1, 1)))
    (found,) = anomaly_map(extractor.maps(candidates)[1][None], extractor.mask)
    assert found.shape == (FEATURE_SIDE, FEATURE_SIDE)
    assert (found[extractor.mask[0, 0].numpy() <= 0.5] == 0).all()
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert 440 <= 4 * row <= 520
    assert 590 <= 4 * column <= 690
    shares = shares_of_face(found, landmarks(), None)
    assert next(iter(shares)) == FaceRegion.LEFT_EYE
    alone = [anomaly_map(extractor.maps(one[None])[1][None], extractor.mask)[0] for one in candidates]
    np.testing.assert_allclose(found, (alone[0] + alone[1]) / 2, rtol=1e-4, atol=1e-7)
    black = to_tensor(np.zeros((64, 64, 3), np.uint8), raw.device)
    same = FeatureExtractor(random_metric(), black[None], mask[None])
    assert anomaly_map(same.maps(torch.full((1, 3, 64, 64), -1.0))[1][None], same.mask).max() == 0
