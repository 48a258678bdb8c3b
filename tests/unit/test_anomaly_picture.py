"""The heat picture: dark where nothing deviates, bright where much does, grey off the face, a colour bar."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.anomaly_picture import HIGHEST, anomaly_picture
from pipeline.face_regions import region_labels
from pipeline.mask import face_mask
from tests.unit.test_anomaly import landmarks

MASK = face_mask(landmarks())
LABELS = region_labels(landmarks(), 1024)


def inferno(value: float) -> list[int]:
    level = np.full((1, 1), round(min(1, value / HIGHEST) * 255), np.uint8)
    return [int(v) for v in cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[0, 0, ::-1]]


def test_colours_stand_for_what_the_bar_says() -> None:
    for value in (0.0, 0.5 * HIGHEST, HIGHEST, 3 * HIGHEST):
        picture = anomaly_picture(np.full((256, 256), value, np.float32), LABELS, MASK)
        assert picture.shape == (1024, 1024, 3)
        assert picture.dtype == np.uint8
        assert picture[660, 330].tolist() == inferno(value)  # inside a cheek
        assert picture[20, 20].tolist() == [127, 127, 127]
        bar = picture[300:720, 935].astype(int)
        start = next(n for n, colour in enumerate(bar) if colour.tolist() != [127, 127, 127])
        assert bar[start].tolist() == inferno(HIGHEST)
        length = round(0.7 * 1024) - round(0.3 * 1024)
        for share in (0.25, 0.5, 0.75, 1.0):  # from the top down
            row = start + round(share * (length - 1))
            assert np.abs(bar[row] - inferno((1 - share) * HIGHEST)).max() <= 3


def test_a_spot_is_the_brightest_place_of_the_face() -> None:
    values = np.zeros((256, 256), np.float32)
    values[160:168, 84:92] = HIGHEST
    picture = anomaly_picture(values, LABELS, MASK).astype(int).sum(2)
    picture[MASK == 0] = 0
    row, column = np.unravel_index(picture.argmax(), picture.shape)
    assert 636 <= row <= 676
    assert 332 <= column <= 372


def test_borders_of_the_regions_are_drawn_inside_the_face_only() -> None:
    picture = anomaly_picture(np.zeros((256, 256), np.float32), LABELS, MASK)
    plain = anomaly_picture(np.zeros((256, 256), np.float32), np.zeros_like(LABELS), MASK)
    differs = (picture != plain).any(2)
    assert differs.sum() > 2000
    assert not differs[MASK == 0].any()
