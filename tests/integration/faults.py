"""Real faults, put on a running process from outside and taken away again."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.peers import require


def without_override(command: Sequence[str]) -> list[str]:
    """Return `command` so that file permissions bind it even where the tests run as root."""
    if os.geteuid() != 0:
        return list(command)
    return [require("setpriv"), "--bounding-set=-dac_override,-dac_read_search", *command]


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take away the right to write into `folder` and every folder below it."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o500)
    try:
        yield
    finally:
        for path in folders:
            path.chmod(0o700)


@contextmanager
def no_file_grows_beyond(process: subprocess.Popen[bytes], size: int) -> Iterator[None]:
    """Let every write of `process` beyond `size` bytes of a file fail, as a disk does that is full."""
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold SQLite's write lock, as another process does that forgot itself."""
    connection = sqlite3.connect(database, timeout=10, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()
