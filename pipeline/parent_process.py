"""A process that must not outlive the one that started it."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent's ends, however that ends.

    The parent's end of a pipe closes with it, and the kernel signals that. A thread that waited for the same
    would not come to its turn while native code holds the interpreter's lock.

    Raises RuntimeError in a process that multiprocessing did not start.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("this process has no parent that it could end with")
    fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(parent.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(parent.sentinel, fcntl.F_GETFL)
    fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)
    if wait([parent.sentinel], timeout=0):
        os._exit(1)  # it ended before the signal was arranged
