"""One step of the paper's plain loop on the same generator, timed.

As one would write it down: the whole picture drawn by the whole network at 1024 px, the photograph's features
computed anew in every step. The paper's metric sees the 1024 px; that of the `reference` profile sees them
reduced.
"""

from __future__ import annotations

import time

import torch

from models.catalog import GENERATOR
from models.generator import choose_device, load_generator
from models.lpips import load_metric
from pipeline.objective import resized

PLAIN_STEPS = 500
"""Steps of each of the two optimisations (paper, "Methods")."""


def plain_step_seconds(device: str, steps: int, metric_side: int) -> float:
    """Return the mean seconds of one step, the pictures compared at `metric_side` px."""
    generator = load_generator(GENERATOR, choose_device(device))
    metric = load_metric(generator.device)
    network = generator.network
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        z = torch.randn(1, network.w_dim, generator=random).to(generator.device)
        target = resized(network.synthesis(network.mapping(z)), metric_side)
    w = generator.w_avg[None].clone().requires_grad_()
    optimiser = torch.optim.Adam([w], lr=0.03)
    began = 0.0
    for step in range(steps + 1):
        if step == 1:  # the first step warms up
            began = _now(generator.device)
        similarity = metric(resized(network.synthesis(w), metric_side), target).sum()
        loss = 10 * similarity + (w - generator.w_avg).abs().mean()
        (w.grad,) = torch.autograd.grad(loss, w)
        optimiser.step()
    return (_now(generator.device) - began) / steps


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
