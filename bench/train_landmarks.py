"""Trains `bench.landmark_refiner` on faces whose displaced landmarks are known, in bfloat16.

What it has become is measured by the last of these lines.

    python -m bench.face_bank --output out/face_bank
    python -m bench.train_landmarks --faces out/face_bank --seconds 900 --output out/refiner.safetensors
    python -m bench.landmark_limit --photos DIR --refiner out/refiner.safetensors --output out/limit.json
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor
from torch.nn import functional

from bench.anomaly_examples import to_unit
from bench.landmark_examples import LandmarkBatch, landmark_batch
from bench.landmark_refiner import LandmarkRefiner
from bench.streamed_examples import ExampleStream
from bench.timed_training import add_training_arguments, begin, train, write_network
from bench.train_anomaly_network import varied_as_taken
from pipeline.face_shape import MIRRORED

_RATE, _DECAY = 1.5e-3, 1e-3
_WARMING, _FALLING, _LEAST_RATE = 0.03, 0.7, 0.01
_FRAME_PX = 4  # of the 1024 frame, for one of 256


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_training_arguments(arguments, seconds=900, batch=32, seed=11)
    options = arguments.parse_args()
    begin(options.seed)
    network = LandmarkRefiner()
    stream = ExampleStream(options.faces, options.batch, options.seed, landmark_batch)
    before, after = trained_on(network, stream, options.seconds)
    write_network(network, options.output)
    print(f"off by {before:.2f} px of the frame before, {after:.2f} after, over the last tenth")


def trained_on(
    network: LandmarkRefiner, stream: ExampleStream[LandmarkBatch], seconds: float
) -> tuple[float, float]:
    """Train for so long; return how far landmarks were off before and after, over the last tenth."""
    off: list[list[float]] = []

    def loss() -> Tensor:
        faces, there, found = as_seen(stream.next())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounds = network(faces, found)
        off.append([_FRAME_PX * _off(one, there) for one in (found, rounds[-1].detach().float())])
        losses = [functional.smooth_l1_loss(one.float(), there, beta=0.5) for one in rounds]
        return torch.stack(losses).sum()

    train(network, seconds, _DECAY, _rate, loss)
    last = torch.tensor(off[-max(1, len(off) // 10) :]).mean(0)
    return float(last[0]), float(last[1])


def _rate(done: float) -> float:
    return _RATE * min(1.0, (done + 0.02) / _WARMING, max(_LEAST_RATE, (1 - done) / _FALLING))


def as_seen(batch: LandmarkBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Return faces in [-1, 1], true and found landmarks; every second batch as mirror images."""
    faces = varied_as_taken(to_unit(torch.from_numpy(batch.face).permute(0, 3, 1, 2)), 0.0)
    there, found = torch.from_numpy(batch.there), torch.from_numpy(batch.found)
    if torch.rand(()) < 0.5:
        faces, there, found = faces.flip(-1), mirrored(there, faces), mirrored(found, faces)
    return faces.contiguous(memory_format=torch.channels_last), there, found


def mirrored(landmarks: Tensor, faces: Tensor) -> Tensor:
    """Return the landmarks (N, 68, 2) of the mirror images of faces (N, 3, H, W)."""
    across = landmarks[:, list(MIRRORED)] * torch.tensor((-1.0, 1.0))
    return across + torch.tensor((faces.shape[-1] - 1.0, 0.0))


def _off(landmarks: Tensor, there: Tensor) -> float:
    return float((landmarks - there).norm(dim=-1).mean())


if __name__ == "__main__":
    main()
