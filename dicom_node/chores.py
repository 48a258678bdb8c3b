"""What the node does again and again, in the background."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

_log = structlog.get_logger(__name__)


class Chores:
    """Runs functions at fixed intervals; none ever overlaps with itself, and none holds up another.

    A chore that raises is logged by the class of its error, counted, and run again at its next turn.
    """

    def __init__(self, chores: Mapping[str, tuple[float, Callable[[], object]]]) -> None:
        """Take name -> (interval in seconds, function)."""
        # Skipped turns of a long chore are normal, and APScheduler would warn about each.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._failures: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": ThreadPoolExecutor(max(1, len(chores)))},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )
        for name, (seconds, function) in chores.items():
            self._scheduler.add_job(
                self._run, "interval", seconds=seconds, args=(name, function), id=name, name=name
            )

    def start(self) -> None:
        """Begin; the first turns come after one interval."""
        self._scheduler.start()

    def stop(self) -> None:
        """Start no further turn and wait for those that run."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    @property
    def failures(self) -> dict[tuple[str, str], int]:
        """(chore, class of the error) -> how often."""
        with self._lock:
            return dict(self._failures)

    def _run(self, name: str, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception as error:  # the next turn must come whatever happened in this one
            kind = type(error).__name__
            with self._lock:
                self._failures[name, kind] += 1
            _log.error("chore failed", chore=name, error=kind)
