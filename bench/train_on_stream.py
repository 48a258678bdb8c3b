"""Trains an anomaly network further on examples without end (`bench.streamed_examples`), in bfloat16.

Meant for a processor that multiplies bfloat16 in tiles (AMX): two such cores learn from twenty examples a
second, where normalizing and learning from one took them two seconds (`bench.train_anomaly_network`).

    python -m bench.face_bank --output out/face_bank
    python -m bench.train_on_stream --faces out/face_bank --begin FILE --member 1 --seconds 2400
        --output out/further.safetensors
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.anomaly_examples import to_unit
from bench.streamed_examples import ExampleStream, StreamedBatch, drawn_batch
from bench.timed_training import add_training_arguments, begin, train, write_network
from bench.train_anomaly_network import NATURAL_MOVE, answer_loss, severity_of, varied_as_taken
from models.anomaly_ensemble import load_anomaly_network
from models.anomaly_network import ANSWER_SIDE
from models.lpips import Lpips, load_metric

_LABEL_SIDE = 64
_WARMING, _FALLING = 0.05, 0.6
"""Shares of the time in which the rate grows, and falls again."""

_LEAST_RATE = 0.02
_DECAY = 0.02


class Comparison(NamedTuple):
    """The arguments of `AnomalyNetwork.forward`."""

    raw_taps: list[Tensor]
    norm_taps: list[Tensor]
    raw: Tensor
    norm: Tensor
    mask: Tensor


class Compared:
    """What the network compares, and what it is to answer, of a batch."""

    def __init__(self, metric: Lpips, natural_move: float) -> None:
        """Compile the metric's features, which are asked for four times an example."""
        self._metric, self._natural_move = metric, natural_move
        self._compiled = torch.compile(metric.features, dynamic=False)

    @torch.no_grad()
    def of(self, batch: StreamedBatch) -> tuple[Comparison, Tensor, Tensor]:
        """Return what is compared, and the map (N, 1, 32, 32) and severity (N,) that are to be answered."""
        mask = torch.from_numpy(batch.mask)[:, None].float() / 255
        seen, undeformed, beside = (
            to_unit(torch.from_numpy(one).permute(0, 3, 1, 2))
            for one in (batch.seen, batch.undeformed, batch.beside)
        )
        where, severity = self._told(seen, undeformed, mask)
        seen = varied_as_taken(seen, self._natural_move)
        if torch.rand(()) < 0.5:
            seen, beside, mask, where = (x.flip(-1) for x in (seen, beside, mask, where))
        seen, beside = seen * mask, beside * mask
        compared = Comparison(self._features(seen), self._features(beside), seen, beside, mask)
        return compared, where, severity

    def _told(self, seen: Tensor, undeformed: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ([tap.float() for tap in self._features(one * mask)] for one in (seen, undeformed))
        distance = self._metric.distance(a, b, self._metric.tap_weights(mask, a))
        local = self._metric.map(a, b, _LABEL_SIDE) * functional.adaptive_avg_pool2d(mask, _LABEL_SIDE)
        return functional.adaptive_avg_pool2d(local, ANSWER_SIDE).sqrt(), severity_of(distance)

    def _features(self, pictures: Tensor) -> list[Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            taps = self._compiled(pictures.contiguous(memory_format=torch.channels_last))
        return [tap.bfloat16().contiguous(memory_format=torch.channels_last) for tap in taps]


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_training_arguments(arguments, seconds=2400, batch=64, seed=5)
    arguments.add_argument("--begin", type=Path, required=True, help="the network to train further")
    arguments.add_argument("--member", type=int, default=0, help="which, where the file holds several")
    arguments.add_argument("--rate", type=float, default=5e-4, help="greatest rate of learning")
    arguments.add_argument(
        "--natural-move", type=float, default=NATURAL_MOVE, help="how far normal parts lie off, in sides"
    )
    arguments.add_argument("--dropout", type=float, default=0.05)
    options = arguments.parse_args()
    begin(options.seed)
    device = torch.device("cpu")
    network = load_anomaly_network(options.begin, device).network.members[options.member]
    for part in network.modules():
        if isinstance(part, nn.Dropout | nn.Dropout2d):
            part.p = options.dropout
    network = network.to(memory_format=torch.channels_last).train().requires_grad_(True)
    stream = ExampleStream(options.faces, options.batch, options.seed, drawn_batch)
    record = trained_on(network, stream, Compared(load_metric(device), options.natural_move), options)
    write_network(network, options.output)
    options.output.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")


def trained_on(
    network: nn.Module, stream: ExampleStream[StreamedBatch], compared: Compared, options: argparse.Namespace
) -> dict[str, object]:
    """Train for so many seconds; return how many examples were seen, and R over the last of them."""
    answers: list[Tensor] = []

    def loss() -> Tensor:
        comparison, where, severity = compared.of(stream.next())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            answer = network(*comparison)
        answers.append(torch.stack([answer.severity.detach().float(), severity]))
        return answer_loss(answer.map.float(), answer.severity.float(), where, severity, comparison.mask)

    train(network, options.seconds, _DECAY, lambda done: options.rate * rate_share(done), loss)
    last = torch.cat(answers[-max(1, len(answers) // 10) :], 1)
    return {
        "examples": options.batch * len(answers),
        "seconds": options.seconds,
        "seed": options.seed,
        "rate": options.rate,
        "natural_move": options.natural_move,
        "r_over_the_last_tenth": round(float(torch.corrcoef(last)[0, 1]), 3),
    }


def rate_share(done: float) -> float:
    """Return the share of the greatest rate after this share of the time: up, level, and down."""
    return min(1.0, max(done, 1e-3) / _WARMING, max(_LEAST_RATE, (1 - done) / _FALLING))


if __name__ == "__main__":
    main()
