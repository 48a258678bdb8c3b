"""Learning where displaced landmarks are: examples whose truth is known, and a network that moves them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from bench.face_bank import FaceBank
from bench.landmark_examples import landmark_batch
from bench.landmark_refiner import LandmarkRefiner, load_landmark_refiner
from bench.train_landmarks import mirrored
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
    first, last = network(faces, at)
    torch.testing.assert_close(first, at)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    wanted = at + torch.tensor((3.0, -2.0))
    for _ in range(12):
        loss = (network(faces, at)[-1] - wanted).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        moved = network(faces, at)[-1]
        assert float((moved - wanted).abs().mean()) < float((last - wanted).abs().mean())
    save_file(network.state_dict(), tmp_path / "refiner.safetensors")
    again = load_landmark_refiner(tmp_path / "refiner.safetensors")
    torch.testing.assert_close(again(faces, at)[-1], moved)


def test_mirror_images_of_mirror_images_are_the_landmarks(face: NDArray[np.uint8]) -> None:
    faces = torch.from_numpy(face.copy()).permute(2, 0, 1)[None].float()
    at = torch.from_numpy(landmarks()).float()[None]
    torch.testing.assert_close(mirrored(mirrored(at, faces), faces), at)
    assert float(mirrored(at, faces)[0, 36:42, 0].mean()) == pytest.approx(
        faces.shape[-1] - 1 - float(at[0, 42:48, 0].mean())
    )
