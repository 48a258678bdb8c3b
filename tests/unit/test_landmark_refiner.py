"""Learning where displaced landmarks are: examples whose truth is known, and a network that moves them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.face_bank import FaceBank
from bench.landmark_examples import landmark_batch
from bench.landmark_refiner import LandmarkRefiner, load_landmark_refiner, mirrored
from bench.timed_training import write_network
from pipeline.face_shape import MIRRORED
from tests.unit.test_anomaly import face, landmarks
from tests.unit.test_streamed_examples import bank

__all__ = ["bank", "face"]


def test_landmarks_go_where_the_drawing_and_the_camera_bring_them(bank: FaceBank) -> None:
    dots = np.zeros((256, 256, 3), np.uint8)
    at = (landmarks() + 0.5) / 4 - 0.5
    (column, row) = np.rint(at[33]).astype(int)  # below the nose
    dots[row - 2 : row + 3, column - 2 : column + 3] = 255
    marked = FaceBank(dots[None], bank.landmarks, bank.references)
    seen = 0
    for seed in range(12):
        batch = landmark_batch(marked, 1, np.random.default_rng(seed))
        bright = np.argwhere(batch.face[0].min(axis=-1) > 120)
        if len(bright) < 10:  # something lies over it
            continue
        seen += 1
        off = np.hypot(*(bright.mean(0)[::-1] - batch.there[0, 33]))
        assert off < 2.5
        assert np.hypot(*(batch.found[0, 33] - batch.there[0, 33])) < 20
    assert seen >= 5


def test_the_same_seed_draws_the_same_faces(bank: FaceBank) -> None:
    first, again = (landmark_batch(bank, 5, np.random.default_rng(6)) for _ in range(2))
    np.testing.assert_array_equal(first.face, again.face)
    np.testing.assert_array_equal(first.there, again.there)


def test_a_new_network_moves_nothing_and_learns_to(tmp_path: Path) -> None:
    torch.manual_seed(4)
    network = LandmarkRefiner()
    faces, at = (
        torch.rand(2, 3, 256, 256) * 2 - 1,
        torch.from_numpy(landmarks() / 4).float().expand(2, -1, -1),
    )
    torch.testing.assert_close(network(faces, at)[0], at)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-4)
    wanted = at + torch.tensor((3.0, -2.0))
    for _ in range(12):
        loss = (network(faces, at)[-1] - wanted).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        learned = network(faces, at)[-1]
    assert float((learned - wanted).abs().mean()) < 0.6 * float((at - wanted).abs().mean())
    write_network(network, tmp_path / "refiner.safetensors")
    again = load_landmark_refiner(tmp_path / "refiner.safetensors")
    torch.testing.assert_close(again(faces, at)[-1], learned, atol=0.05, rtol=0.01)


def test_pictures_of_any_side_have_the_same_landmarks_and_mirror_images_the_mirrored_ones(
    face: NDArray[np.uint8],
) -> None:
    torch.manual_seed(5)
    network = LandmarkRefiner().requires_grad_(False)
    torch.nn.init.normal_(network.move.weight, std=0.05)
    near = (landmarks() + 0.5) / 1024
    across = (1.0, 0.0) + near[list(MIRRORED)] * (-1.0, 1.0)
    one = np.ascontiguousarray(face)
    seen, mirror, small = network.refined([one, one[:, ::-1].copy(), halved(one)], [near, across, near])
    assert np.abs(seen - near).mean() > 0.002
    np.testing.assert_allclose((1.0, 0.0) + mirror[list(MIRRORED)] * (-1.0, 1.0), seen, atol=1e-5)
    np.testing.assert_allclose(small, seen, atol=0.002)


def halved(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = len(picture) // 2
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def test_mirror_images_of_mirror_images_are_the_landmarks() -> None:
    at = torch.from_numpy(landmarks() / 4).float()[None]
    torch.testing.assert_close(mirrored(mirrored(at)), at)
    assert float(mirrored(at)[0, 36:42, 0].mean()) == pytest.approx(255 - float(at[0, 42:48, 0].mean()))
