"""The normalized face back in its place: at the photograph's own scale and orientation, borders soft."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.alignment import ALIGNED_SIDE, Alignment, align
from pipeline.blended_photograph import blended_photograph

WHITE, DARK = 250, 10


def turned(scale: float, degrees: float, centre: tuple[float, float]) -> Alignment:
    """Return the alignment that maps `centre` of a photograph to the middle of the frame."""
    angle = np.deg2rad(degrees)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Alignment(np.column_stack([matrix, np.full(2, (ALIGNED_SIDE - 1) / 2) - matrix @ centre]))


def disc(radius: float) -> NDArray[np.float32]:
    y, x = np.mgrid[0:ALIGNED_SIDE, 0:ALIGNED_SIDE] - (ALIGNED_SIDE - 1) / 2
    return (np.hypot(x, y) < radius).astype(np.float32)


def smooth(rows: int, columns: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:rows, 0:columns]
    grey = 128 + 50 * np.sin(x / 60) + 50 * np.cos(y / 45)
    return np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
def test_what_was_taken_out_and_put_back_unchanged_is_the_photograph(scale: float) -> None:
    photograph = smooth(1500, 1200)
    alignment = turned(scale, 12, (600, 700))
    back = blended_photograph(photograph, align(photograph, alignment), disc(380), alignment)
    assert back.shape == photograph.shape
    assert np.abs(back.astype(int) - photograph).max() <= 3


def test_only_the_face_changes_and_it_lies_where_the_face_was() -> None:
    photograph = np.full((1000, 1600, 3), DARK, np.uint8)
    alignment = turned(2.0, 90, (1100, 300))  # a photograph that was taken on its side
    white = np.full((256, 256, 3), WHITE, np.uint8)
    back = blended_photograph(photograph, white, disc(300), alignment)
    changed = np.argwhere(back[:, :, 0] > DARK)
    assert np.allclose(changed.mean(0), (300, 1100), atol=1)
    # 300 pixels of the frame are 150 of the photograph.
    assert np.allclose(changed.max(0) - changed.min(0), 300, atol=4)
    assert (back[300, 1100] == WHITE).all()


def test_the_border_is_soft() -> None:
    photograph = np.full((ALIGNED_SIDE, ALIGNED_SIDE, 3), DARK, np.uint8)
    alignment = turned(1.0, 0, (511.5, 511.5))
    white = np.full((ALIGNED_SIDE, ALIGNED_SIDE, 3), WHITE, np.uint8)
    row = blended_photograph(photograph, white, disc(300), alignment)[512, :512, 0].astype(int)
    assert np.all(np.diff(row) >= 0)
    assert np.diff(row).max() < 15


def test_a_face_at_the_rim_or_outside_is_no_error() -> None:
    photograph = np.full((200, 200, 3), DARK, np.uint8)
    white = np.full((64, 64, 3), WHITE, np.uint8)
    cut = blended_photograph(photograph, white, disc(300), turned(2.0, 0, (0, 0)))
    assert (cut[0, 0] == WHITE).all()
    assert (cut[199, 199] == DARK).all()
    outside = blended_photograph(photograph, white, disc(300), turned(2.0, 0, (-5000, 0)))
    assert np.array_equal(outside, photograph)
