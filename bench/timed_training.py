"""Training for so long as one likes, on batches without end (`bench.streamed_examples`)."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.progress import Progress
from safetensors.torch import save_file
from torch import Tensor, nn

from models.allocator import keep_freed_memory


def add_training_arguments(
    arguments: argparse.ArgumentParser, *, seconds: float, batch: int, seed: int
) -> None:
    """Add what both trainers are told, with these defaults."""
    arguments.add_argument("--faces", type=Path, default=Path("out/face_bank"), help="a face bank")
    arguments.add_argument("--seconds", type=float, default=seconds)
    arguments.add_argument("--batch", type=int, default=batch)
    arguments.add_argument("--seed", type=int, default=seed)
    arguments.add_argument("--output", type=Path, required=True, help="the network's file")


def begin(seed: int) -> None:
    """Set what holds for the whole process."""
    keep_freed_memory()
    torch.manual_seed(seed)


def train(
    network: nn.Module,
    seconds: float,
    decay: float,
    rate: Callable[[float], float],
    loss: Callable[[], Tensor],
) -> None:
    """Take AdamW's steps for so long.

    rate: of learning, after this share of the time. loss: of a new batch.
    """
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=decay)
    began, done = time.perf_counter(), 0.0
    with Progress() as bar:
        task = bar.add_task("training", total=1.0)
        while done < 1:
            for group in optimizer.param_groups:
                group["lr"] = rate(done)
            optimizer.zero_grad(set_to_none=True)
            loss().backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            done = (time.perf_counter() - began) / seconds
            bar.update(task, completed=done)


def write_network(network: nn.Module, path: Path) -> None:
    """Write its weights, in float16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in network.state_dict().items()}, path)
