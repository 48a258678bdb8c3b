"""Fits the encoder that answers a photograph with a normal latent.

Inputs are generated faces, each once as it is and several times with drawn anomalies and another camera's
light; the answer is always the face's own w. Reduced-rank ridge regression: closed form, one minute.

    python -m bench.drawn_pictures --head head.safetensors
    python -m bench.fit_encoder --output encoder.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import save_file

from bench.drawn_faces import shards
from models.allocator import keep_freed_memory
from models.cache import cached_path
from models.catalog import LANDMARKS, LPIPS_TRUNKS
from models.latent_encoder import encoder_inputs
from models.lpips import Lpips
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.capture_variation import vary_capture
from pipeline.face import FaceFinder
from pipeline.features import to_tensor
from pipeline.mask import face_mask
from pipeline.rejection import UnscorablePhotographError

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
    arguments.add_argument("--output", type=Path, required=True)
    options = arguments.parse_args()
    keep_freed_memory()
    metric = Lpips.load("alexnet", cached_path(LPIPS_TRUNKS, "alexnet.safetensors"))
    faces = FaceFinder(cached_path(LANDMARKS, "shape_predictor_68_face_landmarks.dat"))
    inputs, answers, owners = collect(options.faces, metric, faces, options.variants, options.seed)
    train = owners >= options.held_out
    held_out = ~train
    for strength in (300.0, 1000.0, 3000.0, 10000.0, 30000.0):
        fitted = reduced_rank(inputs[train], answers[train], strength, options.rank)
        print(f"ridge {strength:g}: held-out R2 {explained(fitted, inputs[held_out], answers[held_out]):.4f}")
        best = max(
            (explained(fitted, inputs[held_out], answers[held_out]), strength), locals().get("best", (-1, 0))
        )
    fitted = reduced_rank(inputs, answers, best[1], options.rank)
    save_file({f"encoder.{k}": v.half().contiguous() for k, v in fitted.items()}, options.output)
    print(f"kept ridge {best[1]:g}, held-out R2 {best[0]:.4f}, {options.output}")


def collect(
    folder: Path, metric: Lpips, faces: FaceFinder, variants: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return inputs (M, F), answers (M, w_dim) and each row's face number (M,)."""
    inputs, answers, owners = [], [], []
    number = -1
    for shard in track(list(shards(folder)), description="pictures"):
        for w, picture in zip(shard["w"], shard["pictures"], strict=True):
            number += 1
            rgb = cv2.resize(
                picture.permute(1, 2, 0).numpy(), (_DRAWING_SIDE,) * 2, interpolation=cv2.INTER_CUBIC
            )
            try:
                landmarks = faces.find(rgb).landmarks
            except UnscorablePhotographError:
                continue
            for variant in range(variants):
                random = np.random.default_rng([seed, number, variant])
                inputs.append(_inputs(_variant(rgb, landmarks, variant, random), landmarks, metric))
                answers.append(w)
                owners.append(number)
    return torch.stack(inputs), torch.stack(answers), torch.tensor(owners)


def _variant(
    rgb: NDArray[np.uint8], landmarks: NDArray[np.float64], variant: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    for _ in range(random.integers(1, 3) if variant else 0):
        kind = AnomalyKind(random.choice([str(k) for k in AnomalyKind]))
        rgb = draw_anomaly(rgb, landmarks, kind, float(random.uniform(0.3, 1)), int(random.integers(2**31)))
    return vary_capture(rgb, float(random.uniform(0, 1)), int(random.integers(2**31)))


@torch.no_grad()
def _inputs(rgb: NDArray[np.uint8], landmarks: NDArray[np.float64], metric: Lpips) -> torch.Tensor:
    scale = 1024 / rgb.shape[0]
    mask = torch.from_numpy(
        cv2.resize(face_mask(landmarks * scale), (256, 256), interpolation=cv2.INTER_AREA)
    )
    small = to_tensor(cv2.resize(rgb, (256, 256), interpolation=cv2.INTER_AREA), torch.device("cpu"))
    picture = (small * mask)[None]
    return encoder_inputs(picture, metric.features(picture))[0]


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
