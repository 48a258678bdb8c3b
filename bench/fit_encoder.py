"""Fits the encoder that answers a photograph with a normal latent.

Inputs are generated faces, each once as it is and several times with drawn anomalies and another camera's
light; the answer is always the face's own w. Reading 10,000 faces takes half an hour of two cores, and the
training of a network of two hidden layers two minutes.

    python -m bench.drawn_pictures --faces 10200 --head head.safetensors
    python -m bench.fit_encoder --output encoder.safetensors
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import nn

from bench.drawn_faces import SHARD
from models.allocator import keep_freed_memory
from models.latent_encoder import LatentEncoder, encoder_inputs
from models.lpips import Lpips, load_metric
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.capture_variation import vary_capture
from pipeline.face import load_face_finder
from pipeline.features import to_tensor
from pipeline.mask import face_mask
from pipeline.rejection import UnscorablePhotographError

Array = NDArray[np.float32]

_DRAWING_SIDE = 512  # anomalies are drawn and landmarks found at this size


@dataclass(frozen=True, slots=True)
class Fit:
    """How the network is trained: `axes` principal axes of the inputs, two layers of `hidden` units."""

    axes: int = 512
    hidden: int = 1024
    epochs: int = 30
    batch: int = 256
    rate: float = 1e-3
    decay: float = 1e-2
    dropout: float = 0.5
    noise: float = 0.3  # standard deviations, added to the inputs on their axes
    seed: int = 0


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--faces", type=Path, default=Path("out/pictures"))
    arguments.add_argument(
        "--rows", type=Path, default=Path("out/encoder"), help="finished shards are kept here"
    )
    arguments.add_argument(
        "--variants", type=int, default=2, help="pictures of each face, the first undeformed"
    )
    arguments.add_argument("--axes", type=int, default=Fit().axes, help="principal axes of the inputs")
    arguments.add_argument("--hidden", type=int, default=Fit().hidden, help="units of each hidden layer")
    arguments.add_argument("--epochs", type=int, default=Fit().epochs)
    arguments.add_argument("--held-out", type=int, default=300, help="faces kept for the figure printed")
    arguments.add_argument("--seed", type=int, default=3)
    arguments.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--output", type=Path, required=True)
    options = arguments.parse_args()
    keep_freed_memory()
    inputs, answers, owners = collect(
        options.faces, options.rows, options.variants, options.seed, options.workers
    )
    train = owners >= options.held_out
    fit = Fit(options.axes, options.hidden, options.epochs)
    share = explained(fitted(inputs[train], answers[train], fit), inputs[~train], answers[~train])
    print(f"{options.held_out} faces held out: R2 {share:.4f}; once more with all of them", flush=True)
    save_file(fitted(inputs, answers, fit), options.output)


def collect(
    folder: Path, rows: Path, variants: int, seed: int, workers: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return inputs (M, F), answers (M, w_dim) and each row's face number (M,); `rows` keeps what is done."""
    paths = sorted(folder.glob("*.safetensors"))
    rows.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        jobs = [pool.submit(keep_shard, path, rows / path.name, variants, seed) for path in paths]
        for job in track(jobs, description="pictures"):
            job.result()
    parts = [load_file(rows / path.name) for path in paths]
    inputs, answers, owners = (
        torch.cat([part[k] for part in parts]) for k in ("inputs", "answers", "owners")
    )
    return inputs.float(), answers, owners


def keep_shard(faces: Path, kept: Path, variants: int, seed: int) -> None:
    """Write the rows of a shard that is not kept yet: inputs (float16), answers, face numbers."""
    if kept.exists():
        return
    torch.set_num_threads(1)
    metric = load_metric(torch.device("cpu"))
    finder = load_face_finder()
    drawn = load_file(faces)
    inputs, answers, owners = [], [], []
    for n, (w, picture) in enumerate(zip(drawn["w"], drawn["pictures"], strict=True)):
        number = int(faces.stem) * SHARD + n
        rgb = cv2.resize(
            picture.permute(1, 2, 0).numpy(), (_DRAWING_SIDE,) * 2, interpolation=cv2.INTER_CUBIC
        )
        try:
            landmarks = finder.find(rgb).landmarks
        except UnscorablePhotographError:
            continue
        mask = cv2.resize(
            face_mask(landmarks * 1024 / _DRAWING_SIDE), (256, 256), interpolation=cv2.INTER_AREA
        )
        for variant in range(variants):
            random = np.random.default_rng([seed, number, variant])
            inputs.append(_inputs(_variant(rgb, landmarks, variant, random), torch.from_numpy(mask), metric))
            answers.append(w)
            owners.append(number)
    partial = kept.with_suffix(".part")
    save_file(
        {
            "inputs": torch.from_numpy(np.stack(inputs)).half(),
            "answers": torch.stack(answers),
            "owners": torch.tensor(owners),
        },
        partial,
    )
    partial.rename(kept)


def _variant(
    rgb: NDArray[np.uint8], landmarks: NDArray[np.float64], variant: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    for _ in range(random.integers(1, 3) if variant else 0):
        kind = AnomalyKind(random.choice([str(k) for k in AnomalyKind]))
        rgb = draw_anomaly(rgb, landmarks, kind, float(random.uniform(0.3, 1)), int(random.integers(2**31)))
    return vary_capture(rgb, float(random.uniform(0, 1)), int(random.integers(2**31)))


@torch.no_grad()
def _inputs(rgb: NDArray[np.uint8], mask: torch.Tensor, metric: Lpips) -> Array:
    reduced = cv2.resize(rgb, (256, 256), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    small = to_tensor(reduced, torch.device("cpu"))
    picture = (small * mask)[None]
    return np.asarray(encoder_inputs(picture, metric.features(picture))[0].numpy())


def fitted(x: torch.Tensor, y: torch.Tensor, fit: Fit) -> dict[str, torch.Tensor]:
    """Train on inputs x (M, F) and answers y (M, w_dim); return the tensors of `LatentEncoder`, float16."""
    torch.manual_seed(fit.seed)
    mean, scale, centre = x.mean(0), x.std(0) + 1e-3, y.mean(0)
    axes = principal_axes((x - mean) / scale, fit.axes)
    placed = torch.cat([(rows - mean) / scale @ axes for rows in torch.split(x, 4096)])
    layers = trained(placed, y - centre, fit)
    tensors = {"mean": mean, "scale": scale, "axes": axes, "centre": centre}
    for n, layer in enumerate(layers):
        tensors |= {f"layers.{n}.weight": layer.weight.detach(), f"layers.{n}.bias": layer.bias.detach()}
    return {f"encoder.{name}": value.half().contiguous() for name, value in tensors.items()}


def principal_axes(z: torch.Tensor, count: int) -> torch.Tensor:
    """Return the first axes (F, count), scaled so that the square root of each one's spread is left on it."""
    sample = z[:: max(1, len(z) // 8192)]
    _, _, axes = torch.pca_lowrank(sample, q=count, center=False, niter=2)
    axes = axes / (sample @ axes).std(0).sqrt()
    return axes / (sample @ axes).std()


def trained(x: torch.Tensor, y: torch.Tensor, fit: Fit) -> list[nn.Linear]:
    """Return the linear layers, trained by AdamW on one cycle of the rate."""
    sizes = (x.shape[1], fit.hidden, fit.hidden, y.shape[1])
    layers = [nn.Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(sizes)]
    between = [module for layer in layers[:-1] for module in (layer, nn.GELU(), nn.Dropout(fit.dropout))]
    network = nn.Sequential(*between, layers[-1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=fit.rate, weight_decay=fit.decay)
    batches = len(x) // fit.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, fit.rate, total_steps=fit.epochs * batches)
    for _ in track(range(fit.epochs), description="training"):
        for rows in torch.randperm(len(x))[: batches * fit.batch].view(batches, fit.batch):
            noisy = x[rows] + fit.noise * torch.randn(fit.batch, x.shape[1])
            loss = (network(noisy) - y[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return layers


@torch.no_grad()
def explained(tensors: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the share of w's variance around its mean that the answers explain."""
    answer = LatentEncoder(tensors).answer(x)
    return float(1 - (answer - y).square().sum() / (tensors["encoder.centre"] - y).square().sum())


if __name__ == "__main__":
    main()
