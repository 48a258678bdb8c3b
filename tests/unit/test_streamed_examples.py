"""Examples without end: what stands in a batch, and what the face beside follows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from bench.face_bank import FaceBank
from bench.streamed_examples import ExampleStream, drawn_batch
from bench.train_on_stream import rate_share
from pipeline.anomaly_free import draw_free_anomaly, free_pieces
from pipeline.mask import face_mask
from tests.unit.test_anomaly import change, face, landmarks

__all__ = ["face"]


@pytest.fixture
def bank(face: NDArray[np.uint8]) -> FaceBank:
    small = face[::4, ::4]
    assert small.shape == (256, 256, 3)
    return FaceBank(small[None], landmarks().astype(np.float32)[None], np.stack([small, small])[None])


def test_a_batch_holds_deformed_and_undeformed_faces_and_their_masks(bank: FaceBank) -> None:
    batch = drawn_batch(bank, 40, np.random.default_rng(3))
    assert batch.seen.shape == batch.undeformed.shape == batch.beside.shape == (40, 256, 256, 3)
    changed = (batch.seen != batch.undeformed).any(axis=(1, 2, 3))
    assert 20 <= changed.sum() < 40
    wanted = face_mask(landmarks())[::4, ::4] > 0
    for mask in batch.mask:
        both, either = ((mask > 127) & wanted).sum(), ((mask > 127) | wanted).sum()
        assert both / either > 0.9


def test_the_same_seed_draws_the_same_batch(bank: FaceBank) -> None:
    first, again = (drawn_batch(bank, 6, np.random.default_rng(8)) for _ in range(2))
    np.testing.assert_array_equal(first.seen, again.seen)
    np.testing.assert_array_equal(first.beside, again.beside)


def test_the_face_beside_follows_displacements_and_nothing_else(
    bank: FaceBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.streamed_examples._UNDEFORMED_SHARE", 0.0)
    for moves in (True, False):
        monkeypatch.setattr(
            "bench.streamed_examples.free_pieces",
            lambda at, seed, moves=moves: [p for p in free_pieces(at, seed) if p.moves == moves],
        )
        batch = drawn_batch(bank, 12, np.random.default_rng(1))
        followed = (batch.beside != bank.references[0, 0]).any(axis=(1, 2, 3))
        assert followed.any() == moves


def test_pieces_are_what_a_free_anomaly_is_made_of(face: NDArray[np.uint8]) -> None:
    drawn = face
    for piece in free_pieces(landmarks(), 4):
        drawn = piece.drawn_on(drawn, 0.5)
    assert change(drawn, face) > 0
    np.testing.assert_array_equal(drawn, draw_free_anomaly(face, landmarks(), 0.5, 4))


def test_another_process_draws_the_batches_from_a_folder(bank: FaceBank, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no faces"):
        FaceBank.read(tmp_path)
    tensors = {name: torch.from_numpy(getattr(bank, name)) for name in ("face", "landmarks", "references")}
    save_file({name: value.contiguous() for name, value in tensors.items()}, tmp_path / "1-0000.safetensors")
    stream = ExampleStream(tmp_path, 3, 5, drawn_batch)
    try:
        assert len(stream.next().seen) == 3
    finally:
        stream.close()


def test_the_rate_grows_stays_and_falls() -> None:
    assert rate_share(0.0) < rate_share(0.02) < rate_share(0.05) == rate_share(0.4) == 1.0
    assert 1.0 > rate_share(0.6) > rate_share(0.9) > rate_share(1.0) > 0
