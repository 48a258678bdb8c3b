"""What the node does again and again, in the background."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta, tzinfo

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from dicom_node.logs import innermost

# Interval in seconds, and what is done.
Chore = tuple[float, Callable[[], object]]

SWEEP_SECONDS = 1.0
"""How often what has come due is looked for."""

_log = structlog.get_logger(__name__)

# More than there are chores, also after later ones have come: a thread is made when it is needed.
_MOST_THREADS = 1000


class _Steady(tzinfo):
    """A zone whose time of day is the monotonic clock's, whatever the system's is set to.

    APScheduler asks `datetime.now` of its zone what time it is. By the system's clock, no chore would be done
    for an hour once it is set back by one.
    """

    def fromutc(self, _: datetime) -> datetime:
        return datetime.min.replace(tzinfo=self) + timedelta(days=1, seconds=time.monotonic())

    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    def dst(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, _: datetime | None) -> str:
        return "steady"


class _Every(BaseTrigger):  # type: ignore[misc]
    """A turn each so many seconds; APScheduler's own counts by the system's clock."""

    def __init__(self, seconds: float) -> None:
        self._interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, _: datetime | None, now: datetime) -> datetime:
        return now + self._interval


class Chores:
    """Runs functions at fixed intervals; none ever overlaps with itself, and none holds up another.

    A chore that raises is logged by the class of its error, counted, and run again at its next turn.
    """

    def __init__(self, chores: Mapping[str, Chore]) -> None:
        """Take them by name."""
        # Skipped turns of a long chore are normal, and APScheduler would warn about each.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._failures: Counter[tuple[str, str]] = Counter()
        self._failing: set[str] = set()
        self._at_rest = threading.Condition()
        self._running = 0
        self._scheduler = BackgroundScheduler(
            timezone=_Steady(),
            executors={"default": ThreadPoolExecutor(_MOST_THREADS)},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )
        self._add(chores)

    def start(self) -> None:
        """Begin; the first turns come after one interval."""
        self._scheduler.start()

    def exchange(self, old: Collection[str], new: Mapping[str, Chore]) -> None:
        """Drop the chores of these names, whose running turns end by themselves, and take others."""
        for name in old:
            self._scheduler.remove_job(name)
        with self._at_rest:
            self._failing.difference_update(old)
        self._add(new)

    def stop(self, *, seconds: float) -> bool:
        """Start no further turn, wait up to `seconds` for those that run; return whether all ended."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        with self._at_rest:
            return self._at_rest.wait_for(lambda: self._running == 0, timeout=seconds)

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
            self._scheduler.add_job(self._run, _Every(seconds), args=(name, function), id=name, name=name)

    def _run(self, name: str, function: Callable[[], object]) -> None:
        with self._at_rest:
            self._running += 1
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
                self._running -= 1
                self._at_rest.notify_all()
