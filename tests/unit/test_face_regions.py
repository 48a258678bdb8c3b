"""The regions lie where the landmarks say, sides are the patient's own, and what is beside them is theirs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.face_regions import REGIONS, FaceRegion, region_labels
from tests.unit.test_anomaly import landmarks

UNIT = 256  # distance of the eyes in `landmarks`
SIDES = {
    FaceRegion.RIGHT_EYE: FaceRegion.LEFT_EYE,
    FaceRegion.LEFT_EYE: FaceRegion.RIGHT_EYE,
    FaceRegion.RIGHT_CHEEK: FaceRegion.LEFT_CHEEK,
    FaceRegion.LEFT_CHEEK: FaceRegion.RIGHT_CHEEK,
}
MIRRORED = [
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *range(54, 47, -1),
    *range(59, 54, -1),
    *range(64, 59, -1),
    *range(67, 64, -1),
]


def region_at(labels: NDArray[np.uint8], x: float, y: float) -> FaceRegion:
    return REGIONS[labels[round(y), round(x)]]


@pytest.mark.parametrize(
    ("region", "indices"),
    [
        (FaceRegion.BROWS, range(17, 27)),
        (FaceRegion.RIGHT_EYE, range(36, 42)),
        (FaceRegion.LEFT_EYE, range(42, 48)),
        (FaceRegion.NOSE, range(27, 36)),
        (FaceRegion.UPPER_LIP, range(49, 54)),
        (FaceRegion.LOWER_LIP, range(55, 60)),
        (FaceRegion.RIGHT_CHEEK, range(1, 4)),
        (FaceRegion.LEFT_CHEEK, range(13, 16)),
        (FaceRegion.CHIN_AND_JAW, range(6, 11)),
    ],
)
def test_landmarks_lie_in_their_own_region(region: FaceRegion, indices: range) -> None:
    points = landmarks()
    labels = region_labels(points, 1024)
    assert {region_at(labels, *points[i]) for i in indices} == {region}


def test_left_and_right_are_the_patients_own() -> None:
    labels = region_labels(landmarks(), 1024)
    left_in_picture = {REGIONS[n] for n in np.unique(labels[:, :500])}
    assert {FaceRegion.RIGHT_EYE, FaceRegion.RIGHT_CHEEK} <= left_in_picture
    assert not {FaceRegion.LEFT_EYE, FaceRegion.LEFT_CHEEK} & left_in_picture


@pytest.mark.parametrize(
    ("x", "y", "region"),
    [
        (384, 494 + 0.15 * UNIT, FaceRegion.RIGHT_EYE),  # the bag under the eye
        (384, 462 - 0.05 * UNIT, FaceRegion.RIGHT_EYE),  # above the upper lid
        (640, 494 + 0.15 * UNIT, FaceRegion.LEFT_EYE),
        (512, 690, FaceRegion.UPPER_LIP),  # the groove between nose and lip
        (512 - 90 - 0.05 * UNIT, 740, FaceRegion.UPPER_LIP),  # beside the corner of the mouth
        (512, 779 + 0.07 * UNIT, FaceRegion.LOWER_LIP),
        (512 - 50 - 0.08 * UNIT, 640, FaceRegion.NOSE),  # beside the wing
        (330, 660, FaceRegion.RIGHT_CHEEK),
        (694, 660, FaceRegion.LEFT_CHEEK),
        (512, 860, FaceRegion.CHIN_AND_JAW),
        (350, 398 - 0.07 * UNIT, FaceRegion.BROWS),
        (512, 398 - 0.25 * UNIT, FaceRegion.FOREHEAD),
        (310, 398 - 0.25 * UNIT, FaceRegion.FOREHEAD),
    ],
)
def test_what_lies_beside_the_landmarks_belongs_to_them(x: float, y: float, region: FaceRegion) -> None:
    assert region_at(region_labels(landmarks(), 1024), x, y) == region


def test_a_mirrored_face_has_the_mirrored_regions() -> None:
    points = landmarks() + np.random.default_rng(4).normal(0, 6, (68, 2))
    mirrored = points[MIRRORED] * (-1, 1) + (1023, 0)
    labels, other = region_labels(points, 1024), region_labels(mirrored, 1024)
    swap = np.array([REGIONS.index(SIDES.get(region, region)) for region in REGIONS])
    assert (swap[other[:, ::-1]] == labels).mean() > 0.995  # rounding of corners alone


def test_regions_do_not_depend_on_the_side_of_the_frame() -> None:
    large, small = region_labels(landmarks(), 1024), region_labels(landmarks(), 256)
    assert small.shape == (256, 256)
    assert (large[2::4, 2::4] == small).mean() > 0.97


def test_every_region_is_there_and_grows_with_the_face() -> None:
    middle = np.array([512.0, 560.0])
    smaller = middle + 0.7 * (landmarks() - middle)
    for region, label in ((FaceRegion.RIGHT_EYE, 1), (FaceRegion.NOSE, 3)):
        assert REGIONS[label] == region
        sizes = [(region_labels(points, 1024) == label).sum() for points in (smaller, landmarks())]
        assert sizes[0] / sizes[1] == pytest.approx(0.49, abs=0.04)
    assert set(np.unique(region_labels(landmarks(), 1024))) == set(range(len(REGIONS)))


def test_landmarks_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="68"):
        region_labels(landmarks()[:60], 256)
