"""A process in the foreground: it runs until SIGTERM or SIGINT, and ends also where a thread will not."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import typer


class Signals:
    """What the process was asked for; to be made in the main thread, before anything that takes time."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._stop = threading.Event()
        self._reload = threading.Event()
        self._meanwhile: Callable[[], None] | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take_stop)

    def wait(self, reload: Callable[[], None] | None = None) -> None:
        """Return when asked to stop; on SIGHUP call `reload`, where there is one."""
        while not self._stop.is_set():
            self._asked.wait()
            self._asked.clear()
            if self._reload.is_set():
                self._reload.clear()
                if reload:
                    reload()

    def stop(self) -> None:
        """Ask for the end, from another thread."""
        self._stop.set()
        self._asked.set()

    @property
    def stopped(self) -> bool:
        """Whether the end was asked for."""
        return self._stop.is_set()

    @contextmanager
    def calling(self, give_up: Callable[[], None]) -> Iterator[None]:
        """Call `give_up`, in the midst of whatever the block does, when a signal asks for the end, or has."""
        self._meanwhile = give_up
        try:
            if self.stopped:
                give_up()
            yield
        finally:
            self._meanwhile = None

    def take_reloads(self) -> None:
        """From now on SIGHUP asks for a reload, rather than ending the process."""
        signal.signal(signal.SIGHUP, self._take_reload)

    def _take_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self.stop()
        if self._meanwhile:
            self._meanwhile()

    def _take_reload(self, _signal: int, _frame: FrameType | None) -> None:
        self._reload.set()
        self._asked.set()


def tell(line: str) -> None:
    """Print it on standard error where that can be written; the process goes on in any case."""
    with suppress(OSError):
        typer.echo(line, err=True)


def freeze_what_is_loaded() -> None:
    """Have the collector of garbage pass over what is there now, which stays.

    pynetdicom has Python look through all objects after every sixtieth association or half minute: not
    again through those of the libraries, which takes 0.1 s and more of the interpreter's lock.
    """
    gc.collect()
    gc.freeze()


def end(command: str, stop: Callable[[], bool], *, cut_off: str, status: int = 0) -> None:
    """Stop in order; where something still runs, say `cut_off` and end the process with `status`."""
    tell(f"{command}: stopping")
    if not stop():
        # A thread cannot be stopped in the midst of a scoring.
        tell(f"{command}: {cut_off}")
        os._exit(status)
