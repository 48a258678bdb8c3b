"""Fits the encoder that answers a photograph with a normal latent.

Inputs are generated faces, each once as it is and several times with drawn anomalies and another camera's
light; the answer is always the face's own w. Reduced-rank ridge regression: closed form, one minute.

    python -m bench.drawn_pictures --head head.safetensors
    python -m bench.fit_encoder --output encoder.safetensors
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import load_file, save_file

from bench.drawn_faces import SHARD
from models.allocator import keep_freed_memory
from models.latent_encoder import encoder_inputs
from models.lpips import Lpips, load_metric
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.capture_variation import vary_capture
from pipeline.face import load_face_finder
from pipeline.features import to_tensor
from pipeline.mask import face_mask
from pipeline.rejection import UnscorablePhotographError

Array = NDArray[np.float32]

_DRAWING_SIDE = 512  # anomalies are drawn and landmarks found at this size


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--faces", type=Path, default=Path("out/pictures"))
    arguments.add_argument(
        "--variants", type=int, default=3, help="pictures of each face, the first undeformed"
    )
    arguments.add_argument("--rank", type=int, default=160)
    arguments.add_argument("--held-out", type=int, default=200, help="faces kept for the figures printed")
    arguments.add_argument("--seed", type=int, default=3)
    arguments.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--output", type=Path, required=True)
    options = arguments.parse_args()
    keep_freed_memory()
    inputs, answers, owners = collect(options.faces, options.variants, options.seed, options.workers)
    train = owners >= options.held_out
    held_out = ~train
    best = (-1.0, 0.0)
    for strength in (1000.0, 4000.0, 16000.0):
        fitted = reduced_rank(inputs[train], answers[train], strength, options.rank)
        share = explained(fitted, inputs[held_out], answers[held_out])
        print(f"ridge {strength:g}: held-out R2 {share:.4f}", flush=True)
        best = max((share, strength), best)
    fitted = reduced_rank(inputs, answers, best[1], options.rank)
    save_file({f"encoder.{k}": v.half().contiguous() for k, v in fitted.items()}, options.output)
    print(f"kept ridge {best[1]:g}, held-out R2 {best[0]:.4f}, {options.output}")


def collect(
    folder: Path, variants: int, seed: int, workers: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return inputs (M, F), answers (M, w_dim) and each row's face number (M,)."""
    paths = sorted(folder.glob("*.safetensors"))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        jobs = [pool.submit(collect_shard, path, n, variants, seed) for n, path in enumerate(paths)]
        parts = [job.result() for job in track(jobs, description="pictures")]
    inputs, answers, owners = (torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True))
    return inputs, answers, owners


def collect_shard(path: Path, shard: int, variants: int, seed: int) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return the rows of one shard: inputs, answers, face numbers."""
    torch.set_num_threads(1)
    metric = load_metric(torch.device("cpu"))
    finder = load_face_finder()
    faces = load_file(path)
    inputs, answers, owners = [], [], []
    for n, (w, picture) in enumerate(zip(faces["w"], faces["pictures"], strict=True)):
        number = shard * SHARD + n
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
            answers.append(w.numpy())
            owners.append(number)
    return np.stack(inputs), np.stack(answers), np.array(owners)


def _variant(
    rgb: NDArray[np.uint8], landmarks: NDArray[np.float64], variant: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    for _ in range(random.integers(1, 3) if variant else 0):
        kind = AnomalyKind(random.choice([str(k) for k in AnomalyKind]))
        rgb = draw_anomaly(rgb, landmarks, kind, float(random.uniform(0.3, 1)), int(random.integers(2**31)))
    return vary_capture(rgb, float(random.uniform(0, 1)), int(random.integers(2**31)))


@torch.no_grad()
def _inputs(rgb: NDArray[np.uint8], mask: torch.Tensor, metric: Lpips) -> Array:
    small = to_tensor(cv2.resize(rgb, (256, 256), interpolation=cv2.INTER_AREA), torch.device("cpu"))
    picture = (small * mask)[None]
    return np.asarray(encoder_inputs(picture, metric.features(picture))[0].numpy())


def reduced_rank(x: torch.Tensor, y: torch.Tensor, strength: float, rank: int) -> dict[str, torch.Tensor]:
    """Ridge in the dual, then the best rank-r approximation of what it answers on its own data."""
    mean, scale, centre = x.mean(0), x.std(0) + 1e-3, y.mean(0)
    z = ((x - mean) / scale).double()
    kernel = z @ z.T
    alpha = torch.linalg.solve(kernel + strength * torch.eye(len(z), dtype=z.dtype), (y - centre).double())
    _, _, right = torch.linalg.svd(kernel @ alpha, full_matrices=False)
    basis = right[:rank]
    return {
        "mean": mean, "scale": scale, "centre": centre,
        "down": (z.T @ (alpha @ basis.T)).float(), "up": basis.float(),
    }  # fmt: skip


def explained(fitted: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the share of w's variance around its mean that the answers explain."""
    answer = fitted["centre"] + (x - fitted["mean"]) / fitted["scale"] @ fitted["down"] @ fitted["up"]
    return float(1 - (answer - y).square().sum() / (fitted["centre"] - y).square().sum())


if __name__ == "__main__":
    main()
