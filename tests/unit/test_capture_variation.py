"""Another camera's view of the same face: other colours, the same geometry."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.capture_variation import vary_capture


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:256, 0:256] / 256
    shade = np.stack((0.7 - 0.3 * rows, 0.5 + 0.2 * columns, 0.45 - 0.1 * rows * columns), 2)
    return np.uint8(255 * shade)


def test_no_strength_is_no_change(face: NDArray[np.uint8]) -> None:
    same = vary_capture(face, 0, 1)
    np.testing.assert_array_equal(same, face)
    assert same is not face


def test_seed_decides(face: NDArray[np.uint8]) -> None:
    before = face.copy()
    one = vary_capture(face, 1, 5)
    np.testing.assert_array_equal(one, vary_capture(face, 1, 5))
    assert np.abs(one.astype(int) - vary_capture(face, 1, 6)).mean() > 3
    np.testing.assert_array_equal(face, before)
    assert one.dtype == np.uint8
    assert one.shape == face.shape


def test_strength_grows_the_difference(face: NDArray[np.uint8]) -> None:
    means = [
        np.mean([np.abs(vary_capture(face, s, seed).astype(int) - face).mean() for seed in range(12)])
        for s in (0.1, 0.5, 1.0)
    ]
    assert means == sorted(means)
    assert means[2] > 3 * means[0]


def test_geometry_moves_by_little() -> None:
    """Measured on dots: 0.6 % of the side on average, at most 1.6 %."""
    side, places = 512, [(r, c) for r in range(64, 480, 64) for c in range(64, 480, 64)]
    rows, columns = np.mgrid[0:side, 0:side]
    dots = sum(np.exp(-((rows - r) ** 2 + (columns - c) ** 2) / 18) for r, c in places)
    picture = np.repeat(np.uint8(20 + 220 * np.minimum(dots, 1))[:, :, None], 3, 2)
    moves = []
    for seed in range(8):
        varied = vary_capture(picture, 1, seed).astype(float).mean(2)
        for r, c in places:
            window = np.maximum(varied[r - 24 : r + 25, c - 24 : c + 25] - 100, 0)
            ys, xs = np.mgrid[-24:25, -24:25]
            if window.sum():
                moves.append(np.hypot((window * ys).sum(), (window * xs).sum()) / window.sum() / side)
    assert len(moves) > 200
    assert np.mean(moves) > 0.001
    assert max(moves) < 0.02
