"""Trains `bench.landmark_refiner` on faces whose displaced landmarks are known, in bfloat16.

What it has become is measured by the last of these lines.

    python -m bench.face_bank --faces-only --output out/faces_only
    python -m bench.train_landmarks --faces out/faces_only --seconds 2000 --output out/refiner.safetensors
    python -m bench.landmark_limit --photos DIR --refiner out/refiner.safetensors --output out/limit.json
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from bench.anomaly_examples import to_unit
from bench.landmark_examples import LandmarkBatch, landmark_batch
from bench.landmark_refiner import LandmarkRefiner, load_landmark_refiner, mirrored
from bench.streamed_examples import ExampleStream
from bench.timed_training import add_training_arguments, begin, train, write_network

_RATE, _DECAY = 1.5e-3, 1e-3
_WARMING, _FALLING, _LEAST_RATE = 0.03, 0.7, 0.01
_BEGIN_WARMING = 1e-6
_FOLLOWED_OTHERWISE, _NOISE_PX = 0.3, 0.6  # in mirror images: share of a displacement, px
_FRAME_PX = 4  # of the 1024 frame, for one of 256


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--begin", type=Path, help="a trained network to begin with")
    add_training_arguments(arguments, seconds=900, batch=32, seed=11)
    options = arguments.parse_args()
    begin(options.seed)
    network = LandmarkRefiner()
    if options.begin:
        network.load_state_dict(load_landmark_refiner(options.begin).state_dict())
    stream = ExampleStream(options.faces, options.batch, options.seed, landmark_batch)
    before, after = trained_on(
        network, stream, options.seconds, _BEGIN_WARMING if options.begin else _WARMING
    )
    write_network(network, options.output)
    print(f"off by {before:.2f} px of the frame before, {after:.2f} after, over the last tenth")


def trained_on(
    network: LandmarkRefiner, stream: ExampleStream[LandmarkBatch], seconds: float, warming: float = _WARMING
) -> tuple[float, float]:
    """Train for so long; return how far landmarks were off before and after, over the last tenth.

    warming: share of the time in which the rate of learning grows.
    """
    off, examples = [], seen_twice(stream)

    def loss() -> Tensor:
        faces, there, found = next(examples)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounds = network(faces.bfloat16(), found)
        off.append([_FRAME_PX * _off(one, there) for one in (found, rounds[-1].detach().float())])
        losses = [functional.smooth_l1_loss(one.float(), there, beta=0.5) for one in rounds]
        return torch.stack(losses).sum()

    train(network, seconds, _DECAY, partial(_rate, warming), loss)
    last = torch.tensor(off[-max(1, len(off) // 10) :]).mean(0)
    return float(last[0]), float(last[1])


def _rate(warming: float, done: float) -> float:
    return _RATE * min(1.0, (done + 0.02) / warming, max(_LEAST_RATE, (1 - done) / _FALLING))


def seen_twice(stream: ExampleStream[LandmarkBatch]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield faces in [-1, 1], true and found landmarks: each batch as it is, then as its mirror images.

    Landmarks are found otherwise in these. Drawing takes half as long as learning, and both share the cores.
    """
    while True:
        batch = stream.next()
        faces = to_unit(torch.from_numpy(batch.face).permute(0, 3, 1, 2))
        there, found = torch.from_numpy(batch.there), torch.from_numpy(batch.found)
        yield faces.contiguous(memory_format=torch.channels_last), there, found
        followed = _FOLLOWED_OTHERWISE * (2 * torch.rand(len(faces), 1, 1) - 1)
        found = found + followed * (there - found) + _NOISE_PX * torch.randn(found.shape)
        across = faces.flip(-1).contiguous(memory_format=torch.channels_last)
        yield across, mirrored(there), mirrored(found)


def _off(landmarks: Tensor, there: Tensor) -> float:
    return float((landmarks - there).norm(dim=-1).mean())


if __name__ == "__main__":
    main()
