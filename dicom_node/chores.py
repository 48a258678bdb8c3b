"""What the node does again and again, in the background."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping

import structlog

from dicom_node.logs import innermost

# Interval in seconds, and what is done.
Chore = tuple[float, Callable[[], object]]

SWEEP_SECONDS = 1.0
"""How often what has come due is looked for."""

_log = structlog.get_logger(__name__)


class Chores:
    """Runs functions again and again, an interval after the last turn; none holds up another.

    No turn of a chore begins while one of the same name runs. The system's clock has no part in it: one that
    is set, back or ahead, holds up nothing. A chore that raises is logged by the class of its error, counted,
    and run again at its next turn.
    """

    def __init__(self, chores: Mapping[str, Chore]) -> None:
        """Take them by name."""
        self._failures: Counter[tuple[str, str]] = Counter()
        self._failing: set[str] = set()
        self._at_rest = threading.Condition()
        self._running: set[str] = set()
        self._chores = dict(chores)
        self._dropped: dict[str, threading.Event] = {}

    def start(self) -> None:
        """Begin; the first turns come after one interval."""
        self._add(self._chores)

    def exchange(self, old: Collection[str], new: Mapping[str, Chore]) -> None:
        """Drop the chores of these names, whose running turns end by themselves, and take others."""
        with self._at_rest:
            for name in old:
                self._dropped.pop(name).set()
            self._failing.difference_update(old)
        self._add(new)

    def stop(self, *, seconds: float) -> bool:
        """Start no further turn, wait up to `seconds` for those that run; return whether all ended."""
        with self._at_rest:
            for dropped in self._dropped.values():
                dropped.set()
            return self._at_rest.wait_for(lambda: not self._running, timeout=seconds)

    @property
    def failures(self) -> dict[tuple[str, str], int]:
        """(chore, class of the error) -> how often."""
        with self._at_rest:
            return dict(self._failures)

    @property
    def failing(self) -> frozenset[str]:
        """The chores whose last turn failed."""
        with self._at_rest:
            return frozenset(self._failing)

    def _add(self, chores: Mapping[str, Chore]) -> None:
        for name, (seconds, function) in chores.items():
            dropped = self._dropped[name] = threading.Event()
            threading.Thread(
                target=self._repeat, args=(name, seconds, function, dropped), name=name, daemon=True
            ).start()

    def _repeat(
        self, name: str, seconds: float, function: Callable[[], object], dropped: threading.Event
    ) -> None:
        while not dropped.wait(seconds):
            with self._at_rest:
                if dropped.is_set() or name in self._running:
                    continue
                self._running.add(name)
            self._run(name, function)

    def _run(self, name: str, function: Callable[[], object]) -> None:
        try:
            function()
            with self._at_rest:
                self._failing.discard(name)
        except Exception as error:  # the next turn must come whatever happened in this one
            kind = type(error).__name__
            with self._at_rest:
                self._failures[name, kind] += 1
                self._failing.add(name)
            _log.error("chore failed", chore=name, error=kind, where=innermost(error.__traceback__))
        finally:
            with self._at_rest:
                self._running.discard(name)
                self._at_rest.notify_all()
