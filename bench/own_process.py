"""Run one measurement in a fresh process, and read what memory it takes there (Linux only)."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

_P = ParamSpec("_P")
_T = TypeVar("_T")
_STATUS = Path("/proc/self/status")


def in_own_process(function: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
    """Return what a module's function returns in a new process, which takes nothing over from this one."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_log_warnings_only) as pool:
        return pool.submit(function, *arguments, **named).result()


def _log_warnings_only() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


def resident_megabytes() -> float:
    """Return the memory that this process has in RAM."""
    return _status("VmRSS")


def reset_peak() -> None:
    """Let `peak_megabytes` count from now on (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes() -> float:
    """Return the most memory that this process had in RAM since `reset_peak`."""
    return _status("VmHWM")


def _status(field: str) -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024 / 1e6
