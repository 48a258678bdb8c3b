"""Workers in processes of their own, beside a node, on one PostgreSQL."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.integration.running_node import TOKEN, NodeUnderTest, wait_until
from tests.peers import LOOPBACK, free_port
from tests.plain_http import get, is_healthy

# A dead one is noticed in two seconds; so is a living one on a machine that is busy enough. For tests that
# want one to be missed, and for no others.
PROMPT = """
            [workers]
            beat_seconds = 0.5
            gone_seconds = 1.5
"""


@dataclass(frozen=True)
class RunningWorker:
    process: subprocess.Popen[bytes]
    status_port: int

    @property
    def is_ready(self) -> bool:
        return is_healthy(self.status_port)

    def metrics(self) -> str:
        url = f"http://{LOOPBACK}:{self.status_port}/metrics"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return get(url, headers=headers).text

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)

    def end(self) -> int:
        """SIGTERM, and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


def start_worker(
    node: NodeUnderTest, *, seconds: float, seed: int = 0, at_once: int = 1, fault: str = ""
) -> RunningWorker:
    """Start a worker; it may take its time to be ready. at_once, fault: see `NodeUnderTest`."""
    port = free_port()
    command = node.worker_command(seconds=seconds, status_port=port, seed=seed, at_once=at_once, fault=fault)
    with (node.folder / "output.txt").open("ab") as output:
        return RunningWorker(subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT), port)


@contextmanager
def working(
    node: NodeUnderTest,
    number: int = 1,
    *,
    seconds: float = 0.0,
    seed: int = 0,
    at_once: int = 1,
    fault: str = "",
) -> Iterator[list[RunningWorker]]:
    """Run workers until the end of the block; all are ready when it begins. The list may be changed."""
    workers = [
        start_worker(node, seconds=seconds, seed=seed, at_once=at_once, fault=fault) for _ in range(number)
    ]
    try:
        for worker in workers:
            wait_until(lambda w=worker: w.process.poll() is not None or w.is_ready, 120, "a worker")
            if worker.process.poll() is not None:
                pytest.fail(f"a worker ended with {worker.process.returncode}:\n{node.output[-3000:]}")
        yield workers
    finally:
        for worker in workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)
        for worker in workers:
            try:
                worker.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                worker.kill()
