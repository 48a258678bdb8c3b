"""Trains the network that says where a face is anomalous (`models.anomaly_network`), on generated faces only.

Random changes of no named kind are drawn on generated faces (`pipeline.anomaly_free`), which then are varied
as people and cameras vary (`pipeline.natural_variation`, `pipeline.capture_variation`) and normalized. The
network sees the result and is told where the drawing changed the face, and how severe it is on the common
scale (`pipeline.perceptual_severity`). The variant `kinds` also sees the named kinds, which otherwise are
kept to test it; `blind` does not see the normalized face: both to measure what each is worth.

The larger of the two networks that ship is the mean of the weights (`bench.join_anomaly_networks`) that the
two lines below end with. The first ran on an NVIDIA H200 with 16 processor cores beside it, before there were
`natural_moves`; the second took half an hour of two cores. The smaller one was trained as the first, on 800
faces.

    python -m bench.train_anomaly_network --faces 30000 --making-seconds 190 --training-seconds 120
        --output out/anomaly
    python -m bench.train_anomaly_network --faces 80 --seed 31 --batch 16 --cheap --learned-together 16
        --rate 3e-4 --epochs 8 --begin out/anomaly/shipped.safetensors --output out/further
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.progress import Progress
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from bench.anomaly_examples import CHEAP_STEPS, STEPS, Examples, make_examples, to_unit, workers_here
from bench.varied_faces import FREE, MOST_VARIANTS, UNDEFORMED
from models.allocator import keep_freed_memory
from models.anomaly_ensemble import load_anomaly_network
from models.anomaly_network import AnomalyNetwork
from models.catalog import GENERATOR
from models.generator import Generator, choose_device, load_generator
from models.lpips import Lpips, load_metric
from pipeline.perceptual_severity import FULL_DISTANCE

_HELD_OUT = 0.05
_MAP_WEIGHT = 4.0
_MOST_SEVERE = 1.5

NATURAL_MOVE = 0.012
"""How far, in sides of the picture, one normal face's parts lie from another's at most (one deviation).

Without it the network took the asymmetry of people, of which generated faces have less, for an anomaly.
"""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a network is trained: AdamW on one cycle of the rate, in bfloat16 on a GPU."""

    epochs: int = 24
    batch: int = 128
    width: int = 128
    rate: float = 1.5e-3
    decay: float = 0.02
    dropout: float = 0.1
    seed: int = 1
    blind: bool = False
    kinds: bool = False
    begin: Path | None = None
    """A network that is trained further."""

    seconds: float = 0
    """Where it is above 0, the epochs are as many as fit into that time."""


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--faces", type=int, default=800, help="generated faces, six examples each")
    arguments.add_argument(
        "--making-seconds", type=float, default=float("inf"), help="fewer faces after that"
    )
    arguments.add_argument(
        "--training-seconds", type=float, default=0, help="sets the epochs, each variant's"
    )
    arguments.add_argument("--batch", type=int, default=64, help="examples normalized together")
    arguments.add_argument("--seed", type=int, default=20)
    arguments.add_argument("--workers", type=int, default=workers_here())
    arguments.add_argument("--epochs", type=int, default=Fit().epochs)
    arguments.add_argument("--begin", type=Path, help="a network to train further, instead of a new one")
    arguments.add_argument("--rate", type=float, default=Fit().rate, help="greatest rate of learning")
    arguments.add_argument("--learned-together", type=int, default=Fit().batch, help="examples of a step")
    arguments.add_argument("--cheap", action="store_true", help="normalize by cheap steps only, for a CPU")
    arguments.add_argument("--examples", type=Path, help="keep the examples here, or take them from here")
    arguments.add_argument("--output", type=Path, required=True, help="folder for networks and record")
    arguments.add_argument(
        "--variants", nargs="*", default=["shipped"], choices=("shipped", "kinds", "blind")
    )
    options = arguments.parse_args()
    keep_freed_memory()
    device = choose_device("auto")
    generator, metric = load_generator(GENERATOR, device), load_metric(device)
    examples = made_or_read(generator, metric, options)
    options.output.mkdir(parents=True, exist_ok=True)
    record: dict[str, object] = {"examples": len(examples.kinds), "seed": options.seed}
    for variant in options.variants:
        fit = Fit(
            epochs=options.epochs, seconds=options.training_seconds,
            batch=options.learned_together, rate=options.rate, begin=options.begin,
            blind=variant == "blind", kinds=variant == "kinds",
        )  # fmt: skip
        network, record[variant] = trained(examples, metric, fit)
        print(variant, json.dumps(record[variant]), flush=True)
        tensors = {k: v.half().cpu().contiguous() for k, v in network.state_dict().items()}
        save_file(tensors, options.output / f"{variant}.safetensors")
    (options.output / "training.json").write_text(json.dumps(record, indent=1) + "\n")


def made_or_read(generator: Generator, metric: Lpips, options: argparse.Namespace) -> Examples:
    """Return the examples that --examples keeps, or new ones."""
    if options.examples and options.examples.exists():
        return Examples.read(options.examples, generator.device)
    began = time.perf_counter()
    with Progress() as bar:
        task = bar.add_task("examples", total=MOST_VARIANTS * options.faces)
        examples = make_examples(
            generator, metric, options.faces, options.batch, options.seed, options.workers,
            lambda done: bar.update(task, completed=done), options.making_seconds,
            CHEAP_STEPS if options.cheap else STEPS,
        )  # fmt: skip
    print(f"{len(examples.kinds)} examples in {time.perf_counter() - began:.0f} s", flush=True)
    if options.examples:
        examples.save(options.examples)
    return examples


def trained(examples: Examples, metric: Lpips, fit: Fit) -> tuple[AnomalyNetwork, dict[str, object]]:
    """Return a network and what it reaches on the examples that were held out, by kind."""
    torch.manual_seed(fit.seed)
    device = examples.seen.device
    network = AnomalyNetwork(fit.width, sees_normalized=not fit.blind, dropout=fit.dropout).to(device).train()
    if fit.begin:
        network.load_state_dict(load_anomaly_network(fit.begin, device).network.members[0].state_dict())
    count = len(examples.kinds)
    usable = torch.tensor([fit.kinds or kind in (UNDEFORMED, FREE) for kind in examples.kinds])
    held = (torch.arange(count) >= int(count * (1 - _HELD_OUT))) | ~usable
    rows = torch.nonzero(~held)[:, 0].to(device)
    batches = max(1, len(rows) // fit.batch)
    severity, began = severity_of(examples.distance).to(device), time.perf_counter()
    if fit.seconds:
        step = _seconds_per_step(network, metric, examples, severity, rows[: fit.batch])
        fit = replace(fit, epochs=max(1, int(fit.seconds / (step * batches))))
    optimizer = torch.optim.AdamW(network.parameters(), lr=fit.rate, weight_decay=fit.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, fit.rate, total_steps=fit.epochs * batches)
    for _ in range(fit.epochs):
        for chosen in rows[torch.randperm(len(rows), device=device)][: batches * fit.batch].split(fit.batch):
            loss = _loss(network, metric, examples, severity, chosen)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    seconds = round(time.perf_counter() - began)
    network.eval()
    figures = _figures(network, metric, examples, severity, torch.nonzero(held)[:, 0].to(device))
    return network, {"learned_from": len(rows), "epochs": fit.epochs, "seconds": seconds, **figures}


def _seconds_per_step(
    network: AnomalyNetwork, metric: Lpips, examples: Examples, severity: Tensor, rows: Tensor
) -> float:
    """Return how long a step takes, from a few that change nothing."""
    for timed in (False, True):
        began = time.perf_counter()
        for _ in range(10):
            loss = _loss(network, metric, examples, severity, rows)
            loss.backward()
        float(loss)  # waits for a GPU
        if timed:
            break
    network.zero_grad(set_to_none=True)
    return 1.1 * (time.perf_counter() - began) / 10  # the optimiser's own part


def severity_of(distance: Tensor) -> Tensor:
    """Return the severity of these masked LPIPS (N,) on the common scale, a little beyond 1 at most."""
    return (distance / FULL_DISTANCE).clamp(min=0).sqrt().clamp(max=_MOST_SEVERE)


def _answer(
    network: AnomalyNetwork, metric: Lpips, seen: Tensor, norm: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    on_gpu = seen.device.type == "cuda"
    with torch.autocast(seen.device.type, dtype=torch.bfloat16, enabled=on_gpu):
        with torch.no_grad():
            taps, norm_taps = metric.features(seen), metric.features(norm)
        where, severity = network(taps, norm_taps, seen, norm, mask)
    return where.float(), severity.float()


def _loss(
    network: AnomalyNetwork, metric: Lpips, examples: Examples, severity: Tensor, rows: Tensor
) -> Tensor:
    mask, where = examples.mask[rows].float() / 255, examples.where[rows].float()
    seen, norm = varied_as_taken(to_unit(examples.seen[rows])), to_unit(examples.norm[rows])
    if torch.rand(()) < 0.5:
        seen, norm, mask, where = (x.flip(-1) for x in (seen, norm, mask, where))
    found, found_severity = _answer(network, metric, seen * mask, norm * mask, mask)
    return answer_loss(found, found_severity, where, severity[rows], mask)


def answer_loss(
    where: Tensor, severity: Tensor, told_where: Tensor, told_severity: Tensor, mask: Tensor
) -> Tensor:
    """Return how far answers are off: maps (N, 1, 32, 32) inside the masks (N, 1, H, W), severities (N,)."""
    inside = functional.adaptive_avg_pool2d(mask, where.shape[-1])
    error = ((where - told_where).square() * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3))
    return functional.smooth_l1_loss(severity, told_severity, beta=0.2) + _MAP_WEIGHT * error.mean()


def varied_as_taken(seen: Tensor, natural_move: float = NATURAL_MOVE) -> Tensor:
    """Vary proportions, contrast, colour balance, light, sharpness and noise a little, anew each time."""
    n, device = len(seen), seen.device
    picture = ((natural_moves(seen, natural_move) + 1) / 2).clamp(1e-3, 1)
    picture = picture ** torch.exp(0.12 * torch.randn(n, 1, 1, 1, device=device))
    field = functional.interpolate(torch.randn(n, 1, 4, 4, device=device), seen.shape[-2:], mode="bicubic")
    picture = picture * torch.exp(0.05 * field + 0.03 * torch.randn(n, 3, 1, 1, device=device))
    soft = functional.avg_pool2d(picture, 3, stride=1, padding=1, count_include_pad=False)
    picture = picture + (soft - picture) * torch.rand(n, 1, 1, 1, device=device)
    picture = picture + 0.015 * torch.rand(n, 1, 1, 1, device=device) * torch.randn_like(picture)
    return picture.clamp(0, 1) * 2 - 1


def natural_moves(seen: Tensor, natural_move: float = NATURAL_MOVE) -> Tensor:
    """Move the parts of the faces (N, 3, H, W) smoothly, as proportions differ between normal faces.

    natural_move: how far at most, one deviation, in sides of the picture.
    """
    n, device, size = len(seen), seen.device, seen.shape[-2:]
    cells = int(torch.randint(4, 9, ()))
    amplitude = 2 * natural_move * torch.rand(n, 1, 1, 1, device=device)
    coarse = amplitude * torch.randn(n, 2, cells, cells, device=device)
    field = functional.interpolate(coarse, size, mode="bicubic", align_corners=False)
    still = torch.eye(2, 3, device=device).expand(n, 2, 3)
    grid = functional.affine_grid(still, list(seen.shape), align_corners=False) + field.permute(0, 2, 3, 1)
    return functional.grid_sample(seen, grid, padding_mode="reflection", align_corners=False)


@torch.no_grad()
def _figures(
    network: AnomalyNetwork, metric: Lpips, examples: Examples, severity: Tensor, rows: Tensor
) -> dict[str, object]:
    found = []
    for part in rows.split(128):
        mask = examples.mask[part].float() / 255
        seen, norm = (to_unit(x[part]) * mask for x in (examples.seen, examples.norm))
        found.append(_answer(network, metric, seen, norm, mask)[1])
    answer, told = torch.cat(found).cpu(), severity[rows].cpu()
    kinds = [examples.kinds[int(n)] for n in rows]
    named = [kind not in (UNDEFORMED, FREE) for kind in kinds]
    groups = {
        "all": [True] * len(kinds), "free": [k == FREE for k in kinds], "named": named,
        "undeformed": [k == UNDEFORMED for k in kinds],
    }  # fmt: skip
    return {name: _errors(answer[torch.tensor(of)], told[torch.tensor(of)]) for name, of in groups.items()}


def _errors(answer: Tensor, told: Tensor) -> dict[str, float]:
    if len(answer) < 3:
        return {"count": len(answer)}
    spread = float(told.std()) > 0
    r = float(torch.corrcoef(torch.stack([answer, told]))[0, 1]) if spread else float("nan")
    mae = float((answer - told).abs().mean())
    return {"count": len(answer), "mae": round(mae, 3)} | ({"r": round(r, 3)} if spread else {})


if __name__ == "__main__":
    main()
