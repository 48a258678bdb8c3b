"""`facenorm` called in the test's own process.

A process for each call would import torch and load what this one has long ready: five seconds of a core.
Where only a process can show something, such as what libraries write past Python, tests still start one.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pydicom.config
import structlog
from typer.testing import CliRunner

from dicom_node.cli import app


def facenorm(
    *arguments: str | Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command; what its process would return is returned, and an error that it lets out is raised."""
    words = [str(argument) for argument in arguments]
    with process_as_it_was():
        done = CliRunner().invoke(app, words, env=env, prog_name="facenorm", catch_exceptions=False)
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


@contextmanager
def process_as_it_was() -> Iterator[None]:
    """Take back what a command sets for its whole process."""
    root, reading = logging.getLogger(), pydicom.config.settings.reading_validation_mode
    handlers, level = root.handlers, root.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    hook = threading.excepthook
    try:
        with warnings.catch_warnings():
            yield
    finally:
        root.handlers = handlers
        root.setLevel(level)
        pydicom.config.settings.reading_validation_mode = reading
        threading.excepthook = hook
        for number, taken in signals.items():
            signal.signal(number, taken)
        structlog.reset_defaults()
