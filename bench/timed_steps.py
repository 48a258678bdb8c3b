"""How long one step of a loop takes, on any device."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def seconds_per_step(step: Callable[[], object], count: int, device: torch.device, warm_up: int = 1) -> float:
    """Return the mean seconds of `count` steps, after `warm_up` steps that are not timed.

    A GPU works behind the program's back, so the clock is read when it has caught up. Raises ValueError
    for a count below one.
    """
    if count < 1:
        raise ValueError("at least one step has to be timed")
    for _ in range(warm_up):
        step()
    began = now(device)
    for _ in range(count):
        step()
    return (now(device) - began) / count


def now(device: torch.device) -> float:
    """Return a clock in seconds, once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
