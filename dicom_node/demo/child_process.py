"""Programs that the demo starts and that end with it."""

from __future__ import annotations

import subprocess
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
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


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
