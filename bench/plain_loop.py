"""One step of the paper's plain loop on the same generator, timed."""

from __future__ import annotations

import time

import torch

from models.cache import cached_path
from models.catalog import GENERATOR, LPIPS_TRUNKS
from models.generator import choose_device, load_generator
from models.lpips import Lpips

PLAIN_STEPS = 500
"""Steps of each of the two optimisations (paper, "Methods")."""


def plain_step_seconds(device: str, steps: int) -> float:
    """Return the mean seconds of one step: whole network, LPIPS at full resolution, both features anew."""
    generator = load_generator(GENERATOR, choose_device(device))
    metric = Lpips.load("alexnet", cached_path(LPIPS_TRUNKS, "alexnet.safetensors")).to(generator.device)
    network = generator.network
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        z = torch.randn(1, network.w_dim, generator=random).to(generator.device)
        target = network.synthesis(network.mapping(z))
    w = generator.w_avg[None].clone().requires_grad_()
    optimiser = torch.optim.Adam([w], lr=0.03)
    began = 0.0
    for step in range(steps + 1):
        if step == 1:  # the first step warms up
            began = _now(generator.device)
        similarity = metric(network.synthesis(w), target).sum()
        loss = 10 * similarity + (w - generator.w_avg).abs().mean()
        (w.grad,) = torch.autograd.grad(loss, w)
        optimiser.step()
    return (_now(generator.device) - began) / steps


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
