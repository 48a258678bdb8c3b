import itertools

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.anatomy import Anatomy
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.warp import Bump, moved_points, warped

# How far from the named landmarks a kind may reach, in eye distances.
AREAS = {
    AnomalyKind.CLEFT_LIP: (range(31, 68), 0.5),
    AnomalyKind.NOSE_DEVIATION: (range(27, 36), 0.75),
    AnomalyKind.MOUTH_DROOP: ([36, 39, 40, 41, 42, 46, 47, *range(48, 68)], 0.65),
    AnomalyKind.EYELID_DROOP: (range(17, 48), 0.1),
    AnomalyKind.EYE_DISPLACED: (range(36, 48), 0.7),
    AnomalyKind.EYES_WIDE_SET: (range(27, 48), 0.7),
    AnomalyKind.CHEEK_SWELLING: (range(17), 1.0),
    AnomalyKind.JAW_DEVIATION: ([*range(4, 13), 57], 1.0),
    AnomalyKind.CHIN_SMALL: (range(5, 12), 0.8),
    AnomalyKind.PORT_WINE_STAIN: (range(68), 0.4),
    AnomalyKind.PIGMENTED_LESION: (range(68), 0.4),
    AnomalyKind.HAEMANGIOMA: (range(68), 0.6),
    AnomalyKind.SCAR: (range(68), 0.5),
}


def landmarks() -> NDArray[np.float64]:
    """A schematic face in the aligned frame."""
    jaw_angle = np.linspace(np.pi, 0, 17)
    jaw = np.stack((512 + 300 * np.cos(jaw_angle), 470 + 410 * np.sin(jaw_angle)), 1)
    brow = [(270 + 40 * i, 410 - 12 * (i % 4)) for i in range(5)]
    brows = np.array([*brow, *[(1024 - x, y) for x, y in brow[::-1]]])
    bridge = np.array([(512, 480 + 40 * i) for i in range(4)])
    nostrils = np.array([(462 + 25 * i, 640 + 6 * (2 - abs(i - 2))) for i in range(5)])
    eye = np.array([(334, 480), (366, 462), (402, 462), (434, 482), (402, 494), (366, 494)])
    other = np.array([(1024 - eye[i][0], eye[i][1]) for i in (3, 2, 1, 0, 5, 4)])
    outer = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    mouth = np.stack((512 - 90 * np.cos(outer), 745 - 34 * np.sin(outer)), 1)
    inner = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    lips = np.stack((512 - 70 * np.cos(inner), 745 - 5 * np.sin(inner)), 1)
    return np.concatenate((jaw, brows, bridge, nostrils, eye, other, mouth, lips)).astype(np.float64)


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    """Skin-coloured noise of several scales, so that any displacement shows."""
    rng = np.random.default_rng(7)
    picture = np.full((1024, 1024, 3), (205, 160, 140), np.float32)
    for cells, gain in ((8, 18), (64, 10), (400, 8)):
        grid = rng.uniform(-gain, gain, (cells, cells)).astype(np.float32)
        picture += cv2.resize(grid, (1024, 1024), interpolation=cv2.INTER_CUBIC)[..., None]
    for ring in (landmarks()[36:42], landmarks()[42:48], landmarks()[48:60]):
        cv2.fillPoly(picture, [np.rint(ring).astype(np.int32)], (90, 50, 50))
    return np.clip(picture, 0, 255).astype(np.uint8)


def change(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


@pytest.mark.parametrize("kind", list(AnomalyKind))
def test_severity_zero_is_the_face_itself(face: NDArray[np.uint8], kind: AnomalyKind) -> None:
    drawn = draw_anomaly(face, landmarks(), kind, 0.0, 1)
    assert drawn is not face
    np.testing.assert_array_equal(drawn, face)


@pytest.mark.parametrize("kind", list(AnomalyKind))
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_change_grows_with_severity(face: NDArray[np.uint8], kind: AnomalyKind, seed: int) -> None:
    untouched = face.copy()
    changes = [
        change(draw_anomaly(face, landmarks(), kind, s, seed), face) for s in (0.0, 0.15, 0.4, 0.7, 1.0)
    ]
    assert all(later > earlier for earlier, later in itertools.pairwise(changes)), changes
    assert changes[1] < 0.7 * changes[-1]
    np.testing.assert_array_equal(face, untouched)


@pytest.mark.parametrize("kind", list(AnomalyKind))
def test_change_stays_near_the_named_landmarks(face: NDArray[np.uint8], kind: AnomalyKind) -> None:
    points = landmarks()
    indices, reach = AREAS[kind]
    near = np.ones((1024, 1024), np.uint8)
    cv2.fillConvexPoly(near, cv2.convexHull(np.rint(points[list(indices)]).astype(np.int32)), 0)
    far = cv2.distanceTransform(near, cv2.DIST_L2, 5) > reach * Anatomy.of(points).unit
    assert far.mean() > 0.2, "nearly everything counts as near, so the test proves nothing"
    for seed in range(8):
        changed = (draw_anomaly(face, points, kind, 1.0, seed) != face).any(axis=2)
        assert changed.any()
        assert not (changed & far).any(), f"seed {seed} changed {int((changed & far).sum())} pixels far away"


@pytest.mark.parametrize("kind", list(AnomalyKind))
def test_the_seed_decides(face: NDArray[np.uint8], kind: AnomalyKind) -> None:
    first, again, other = (draw_anomaly(face, landmarks(), kind, 0.8, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert change(first, other) > 0


@pytest.mark.parametrize("kind", [AnomalyKind.CHEEK_SWELLING, AnomalyKind.MOUTH_DROOP, AnomalyKind.SCAR])
def test_both_sides_occur(face: NDArray[np.uint8], kind: AnomalyKind) -> None:
    lefts = [
        change(drawn[:, :512], face[:, :512]) > change(drawn[:, 512:], face[:, 512:])
        for drawn in (draw_anomaly(face, landmarks(), kind, 1.0, seed) for seed in range(12))
    ]
    assert 0 < sum(lefts) < len(lefts)


def test_a_shift_moves_what_it_says(face: NDArray[np.uint8]) -> None:
    dot = np.zeros((200, 200, 3), np.uint8)
    dot[98:103, 98:103] = 255
    moved = warped(dot, [Bump((115.0, 108.0), (15.0, 8.0), (60.0, 60.0))])
    rows, columns = np.nonzero(moved[..., 0] > 128)
    assert abs(rows.mean() - 108) < 1.5
    assert abs(columns.mean() - 115) < 1.5


def test_landmarks_outside_the_picture_do_no_harm(face: NDArray[np.uint8]) -> None:
    for kind in AnomalyKind:
        for offset in ((-700, 0), (0, 900), (3000, 3000)):
            drawn = draw_anomaly(face, landmarks() + offset, kind, 1.0, 3)
            assert drawn.shape == face.shape


def test_wrong_arguments_are_refused(face: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="severity"):
        draw_anomaly(face, landmarks(), AnomalyKind.SCAR, 1.01, 1)
    with pytest.raises(ValueError, match="68"):
        draw_anomaly(face, landmarks()[:5], AnomalyKind.SCAR, 0.5, 1)


def test_points_go_where_the_warp_brings_what_they_mark() -> None:
    """A dot on the picture lands where its centre is said to land, magnified bumps included."""
    bumps = [
        Bump((300.0, 300.0), (25.0, -10.0), (90.0, 80.0), 0.2),
        Bump((350.0, 330.0), (0.0, 20.0), (80.0, 70.0)),
    ]
    points = np.array([[280.0, 300.0], [320.0, 290.0], [345.0, 320.0], [100.0, 100.0]])
    rows, columns = np.mgrid[0:500, 0:500]
    for point, there in zip(points, moved_points(points, bumps), strict=True):
        dot = 255 * np.exp(-((columns - point[0]) ** 2 + (rows - point[1]) ** 2) / (2 * 2.0**2))
        shown = warped(np.repeat(np.uint8(dot)[:, :, None], 3, 2), bumps)[..., 0].astype(float)
        centre = np.array([(shown * columns).sum(), (shown * rows).sum()]) / shown.sum()
        np.testing.assert_allclose(there, centre, atol=1.0)
    assert np.linalg.norm(moved_points(points, bumps) - points, axis=1).max() > 15
