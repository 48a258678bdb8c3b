"""Measures how the masked LPIPS curves over w, on the mean over generated faces.

LPIPS is a sum of squared differences of features f(G(w)), so that J^T J, with J the features' derivative by
w, is half its second derivative where the faces agree (Gauss and Newton). One backward pass of features times
white noise gives a vector u with E[u u^T] = J^T J; their mean over many faces is the curvature.

    python -m bench.fit_curvature --output curvature.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor

from models.allocator import keep_freed_memory
from models.catalog import GENERATOR
from models.generator import Generator, choose_device, load_generator
from models.lpips import Lpips, load_metric
from pipeline.face import load_face_finder
from pipeline.generated_face import generated_face
from pipeline.measurement import FaceMeasurer
from pipeline.objective import Objective
from pipeline.profile import Profile
from pipeline.stopwatch import Stopwatch

_ROWS = 6
_LEAST_TRUNCATION, _GREATEST_TRUNCATION = 0.2, 0.9


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--samples", type=int, default=3000)
    arguments.add_argument("--masks", type=int, default=8, help="faces whose mean mask is used")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--output", type=Path, required=True)
    options = arguments.parse_args()
    keep_freed_memory()
    generator = load_generator(GENERATOR, choose_device("auto"))
    metric = load_metric(generator.device)
    profile = Profile.from_card(generator.card.profiles["fast"])
    mask = mean_mask(generator, metric, profile, options)
    measured = latent_curvature(
        generator, metric, mask, profile.metric_resolution, options.samples, options.seed
    )
    save_file({"curvature": measured}, options.output)


def mean_mask(generator: Generator, metric: Lpips, profile: Profile, options: argparse.Namespace) -> Tensor:
    """Return where most of some generated faces' masks are, (1024, 1024) of 0 and 1."""
    measurer = FaceMeasurer(generator, metric, load_face_finder(), profile, 0)
    random = torch.Generator().manual_seed(options.seed)
    masks = []
    for _ in range(options.masks):
        z = torch.randn(1, generator.network.w_dim, generator=random)
        masks.append(measurer.locate(generated_face(generator, z, 0.7), Stopwatch()).mask)
    return torch.from_numpy((np.mean(masks, 0) > 0.5).astype(np.float32)).to(generator.device)


def latent_curvature(
    generator: Generator, metric: Lpips, mask: Tensor, side: int, samples: int, seed: int
) -> Tensor:
    """Return the mean of J^T J, (w_dim, w_dim), over faces drawn with truncations of 0.2 to 0.9."""
    network, random = generator.network, torch.Generator().manual_seed(seed)
    objective = Objective(generator, metric, torch.zeros(3, *mask.shape, device=mask.device), mask, side)
    total = torch.zeros(network.w_dim, network.w_dim)
    for _ in track(range(samples // _ROWS), description="measuring"):
        z = torch.randn(_ROWS, network.w_dim, generator=random)
        spread = _GREATEST_TRUNCATION - _LEAST_TRUNCATION
        truncation = _LEAST_TRUNCATION + spread * torch.rand(_ROWS, 1, generator=random)
        with torch.no_grad():
            drawn = network.mapping(z.to(mask.device))
        w = generator.w_avg + truncation.to(mask.device) * (drawn - generator.w_avg)
        w.requires_grad_()
        features = objective.weighted_features(w)
        noise = [torch.randn(tap.shape, generator=random).to(tap.device) for tap in features]
        product = torch.stack([(tap * n).sum() for tap, n in zip(features, noise, strict=True)]).sum()
        (u,) = torch.autograd.grad(product, w)
        total += (u.T @ u).cpu()
    return total / (samples // _ROWS * _ROWS)


if __name__ == "__main__":
    main()
