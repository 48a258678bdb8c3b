"""Chores that one process of all does: retention, the sweep of stuck work, the look at the disk."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

import structlog
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.resigning import resign
from dicom_node.settings_sections import Retention
from storage.commitments import forget_unreportable
from storage.deliveries import give_up_unknown
from storage.file_store import FileStore
from storage.leases import hold_lease
from storage.retention import purge_photographs, purge_results

_log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 60.0
# Longer than two turns: one that is late does not lose it.
LEASE_SECONDS = 150.0
LEASE = "housekeeping"
# A turn ends soon, and goes on in the next.
_BATCH = 500
# Between a file and its row little time passes in which someone else may change the row.
_AT_ONCE = 1
_REPORTABLE = timedelta(days=1)


def process_name() -> str:
    """Return a name that no other process has, now or later."""
    return f"{socket.gethostname()[:20]}-{os.getpid()}-{uuid4().hex[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Housekeeping:
    """Does the chores where it holds the lease; every one may be cut off anywhere and done again.

    destinations: AE titles that there are; senders: those that take reports of commitment.
    """

    sessions: sessionmaker[Session]
    store: FileStore
    clock: Callable[[], datetime]
    retention: Callable[[], Retention]
    destinations: Callable[[], Collection[str]]
    senders: Callable[[], Collection[str]]
    minimum_free_bytes: int
    holder: str = field(default_factory=process_name)

    def turn(self) -> bool:
        """Do every chore once; return False where another process is elected."""
        if not hold_lease(self.sessions, LEASE, self.holder, now=self.clock(), seconds=LEASE_SECONDS):
            return False
        self._look_at_the_disk()
        self._sweep()
        self._purge()  # last: a file that cannot be deleted holds up nothing else
        return True

    def resign(self) -> None:
        """Let another process be elected at once."""
        resign(self.sessions, LEASE, self.holder)

    def _look_at_the_disk(self) -> None:
        if self.store.free_bytes() < 2 * self.minimum_free_bytes:
            _log.warning("disk fills up", count=self.store.free_bytes() // 1_000_000)

    def _purge(self) -> None:
        retention = self.retention()
        some_photographs = partial(purge_photographs, is_there=self.store.has)
        photographs = self._purge_some(some_photographs, retention.instances_days)
        results = self._purge_some(purge_results, retention.results_days)
        if photographs or results:
            _log.info("files purged", photographs=photographs, artefacts=results)

    def _purge_some(self, purge: Callable[..., int], days: int) -> int:
        """Delete up to `_BATCH` that are older.

        No file while the database is kept from others: what would go is looked up, deleted, and recorded. A
        process that ends in between finds the row again.
        """
        purged, now = 0, self.clock()
        while days and purged < _BATCH:
            some = partial(purge, before=now - timedelta(days=days), now=now, limit=_AT_ONCE)
            begun: list[str] = []
            with self.sessions() as session:  # and taken back at its end
                some(session, begun.append)
            for path in begun:
                self.store.delete(path)
            with self.sessions.begin() as session:
                found = some(session, partial(self._delete_unless, begun), begun=begun)
            purged += found
            if found < _AT_ONCE:
                break
        return purged

    def _delete_unless(self, deleted: Collection[str], path: str) -> None:
        """Delete what has come due since it was looked up, which is rare."""
        if path not in deleted:
            self.store.delete(path)

    def _sweep(self) -> None:
        """Give up what would wait for ever, so that it is seen."""
        with self.sessions.begin() as session:
            unknown = give_up_unknown(session, known=self.destinations())
            silent = forget_unreportable(session, reachable=self.senders(), before=self.clock() - _REPORTABLE)
        if unknown:
            _log.warning("deliveries to destinations that are gone were given up", count=unknown)
        if silent:
            _log.warning("reports of commitment that nobody takes were given up", count=silent)
