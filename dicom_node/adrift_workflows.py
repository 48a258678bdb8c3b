"""Workflows that this process has taken up and does not run, given back to the queue.

A thread of DBOS's that cannot reach the database, or write to it, ends, and what it was about to run stays
taken up. The process lives, so nobody takes it for gone: it has to notice for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Protocol

import structlog

_log = structlog.get_logger(__name__)


class OwnQueue(Protocol):
    """What is asked of the queue that runs here."""

    def taken_up(self) -> Mapping[str, str]:
        """Return workflow id -> queue of what the database says is under way here."""
        ...

    def running(self) -> Collection[str]:
        """Return the ids of the workflows whose steps run here."""
        ...

    def hand_back(self, workflow_id: str, queue: str) -> None:
        """Let anybody take the workflow up, after its finished steps."""
        ...


class AdriftWorkflows:
    """Looks for them, `turn` by turn."""

    def __init__(
        self, queue: OwnQueue, *, clock: Callable[[], datetime], turn_seconds: float, adrift_seconds: float
    ) -> None:
        """Take how often it looks, and how long a workflow may stand still before it is given back.

        Between taking one up and running it, and between its last step and the note of it, pass milliseconds.
        """
        self._queue = queue
        self._clock = clock
        self._longest_pause = timedelta(seconds=4 * turn_seconds)
        self._adrift = timedelta(seconds=adrift_seconds)
        self._since: dict[str, datetime] = {}
        self._looked_at: datetime | None = None

    def turn(self) -> int:
        """Look once; return how many were given back."""
        now = self._clock()
        if self._looked_at is None or now - self._looked_at > self._longest_pause:
            self._since = {}  # the database was away, or this process was held up: both may be about to go on
        taken = self._queue.taken_up()
        self._looked_at = now
        # Asked second: what has begun since is running.
        running = self._queue.running()
        self._since = {name: self._since.get(name, now) for name in taken if name not in running}
        adrift = [name for name, since in self._since.items() if now - since >= self._adrift]
        for name in adrift:
            self._queue.hand_back(name, taken[name])
            del self._since[name]
            _log.warning("a workflow stood still here and is queued again", workflow_id=name)
        return len(adrift)
