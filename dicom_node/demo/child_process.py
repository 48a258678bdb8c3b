"""Programs that the demo starts and that end with it."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_STOP_SECONDS = 15.0


@contextmanager
def running_child(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` until the end of the block, whatever ends it; what the program says goes to `log`.

    It gets a session of its own: Ctrl-C reaches the demo only, which then stops it in order.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with log.open("ab") as output, _interrupts_held():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        yield process
    finally:
        if process is not None:
            _stop(process)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold back what ends the demo: within `Popen` it would leave behind a program that nobody knows of."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda came, _: held.append(came)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if held:
        signal.raise_signal(held[0])


def last_lines(log: Path, count: int = 5) -> str:
    """Return the last lines of a log, '' where there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # does nothing to one that has ended
    try:
        process.wait(_STOP_SECONDS)
    except BaseException as error:  # also a second Ctrl-C
        process.kill()
        process.wait(_STOP_SECONDS)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
