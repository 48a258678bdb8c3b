"""Work of workers that have gone, handed back for others; one elected process of all does it.

A worker has gone when its beats have stood still for so long under the eyes of one process that looked all
the while. So clocks need not agree, and when the database was away for everybody, nobody has gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.hand_back import STARTS, hand_back_or_give_up
from dicom_node.resigning import resign
from dicom_node.shared_queue import SharedQueue
from storage.leases import hold_lease
from storage.workers import (
    beats_of_living,
    forget_workers,
    give_up_workers,
    living_scores,
)

_log = structlog.get_logger(__name__)

LEASE = "workers"
# In turns: one that is late does not lose the election.
_LEASE_TURNS = 4
# Rows of workers that have gone are of interest for the metrics only.
_REMEMBERED = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The beats of a worker, and since when there have been no more."""

    beats: int
    since: datetime


class AbsentWorkers:
    """Looks for them, `turn` by turn."""

    def __init__(
        self,
        *,
        sessions: sessionmaker[Session],
        queue: SharedQueue,
        clock: Callable[[], datetime],
        holder: str,
        turn_seconds: float,
        gone_seconds: float,
        starts: int = STARTS,
    ) -> None:
        """Take who it is (`holder`), how often it looks, and how long a worker may be silent.

        starts: see `dicom_node.hand_back`.
        """
        self._sessions = sessions
        self._queue = queue
        self._clock = clock
        self._holder = holder
        self._turn_seconds = turn_seconds
        self._gone = timedelta(seconds=gone_seconds)
        self._starts = starts
        self._seen: dict[str, _Seen] = {}
        self._looked_at: datetime | None = None

    def turn(self) -> bool:
        """Look once; return False where another process is elected."""
        try:
            return self._turn()
        except BaseException:
            # Nobody could beat, either, while the database was away.
            self._seen = {}
            raise

    def resign(self) -> None:
        """Let another process be elected at once."""
        resign(self._sessions, LEASE, self._holder)

    def _turn(self) -> bool:
        now = self._clock()
        seconds = _LEASE_TURNS * self._turn_seconds
        if not hold_lease(self._sessions, LEASE, self._holder, now=now, seconds=seconds):
            self._seen = {}
            return False
        self._look(now)
        self._hand_back(now)
        self._drop_other_versions()
        return True

    def _look(self, now: datetime) -> None:
        if self._looked_at is None or now - self._looked_at > self._gone:
            self._seen = {}  # this process was held up itself, and so may have been the others
        self._looked_at = now
        with self._sessions() as session:
            beats = beats_of_living(session)
        self._seen = {
            worker: seen if (seen := self._seen.get(worker)) and seen.beats == number else _Seen(number, now)
            for worker, number in beats.items()
        }
        silent = {w: seen.beats for w, seen in self._seen.items() if now - seen.since >= self._gone}
        with self._sessions.begin() as session:
            gone = give_up_workers(session, silent, now=now)
            forget_workers(session, gone_before=now - _REMEMBERED)
        if gone:
            _log.warning("workers have gone", count=len(gone))

    def _hand_back(self, now: datetime) -> None:
        # In this order: who takes something up has beaten before.
        under_way = self._queue.under_way()
        living = self._living()
        left = [taken for taken in under_way if taken.executor_id not in living]
        for taken in left:
            hand_back_or_give_up(self._sessions, self._queue, taken, now=now, starts=self._starts)

    def _drop_other_versions(self) -> None:
        with self._sessions() as session:
            versions = {scores.application_version for scores in living_scores(session)}
        if not versions:
            return  # all are away: they will come back
        dropped = self._queue.drop_other_versions(versions, self._living())
        if dropped:
            _log.info("workflows of a setup that no worker has start anew", count=dropped)

    def _living(self) -> set[str]:
        with self._sessions() as session:
            return set(beats_of_living(session))
