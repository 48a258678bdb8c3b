"""Deliveries that are due go out, and what came of each is recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Protocol

import structlog
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.caller import Peer
from dicom_node.sender import FILE_NOT_READ, UNREADABLE_FILE, Outcome, Verdict
from storage.audit import audit_delivery
from storage.deliveries import (
    PendingDelivery,
    due,
    mark_dead,
    mark_delivered,
    mark_failed,
    mark_uncommitted,
)
from storage.instances import DamagedFileError

_log = structlog.get_logger(__name__)

_BATCH = 50


class Destination(Peer, Protocol):
    """Where results go."""

    @property
    def storage_commitment(self) -> bool:
        """Whether a result counts as delivered only when the destination has committed itself to keep it."""
        ...


class SendsFiles(Protocol):
    """What the outbox needs of a sender."""

    def send(self, destination: Peer, files: list[Path], /) -> list[Outcome]:
        """Send the files; return one outcome per file, in order, and raise nothing for network trouble."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait after a failed attempt, and how often to try.

    After attempt n (from 1) the delay is min(longest, first * 2^(n - 1)) seconds, times a random
    factor in [0.5, 1] so that many deliveries do not come back at the same moment.
    """

    first_seconds: float
    longest_seconds: float
    attempts: int

    def delay(self, attempt: int, random: Random) -> timedelta:
        """Return the wait after the failed attempt number `attempt`, counted from 1."""
        # The exponent is bounded, or a large attempt would overflow.
        seconds = min(self.longest_seconds, self.first_seconds * 2.0 ** min(attempt - 1, 60))
        return timedelta(seconds=seconds * random.uniform(0.5, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """Sends due deliveries; one association per destination and batch.

    resolve: turns a path of the database into one that can be opened.
    """

    sessions: sessionmaker[Session]
    resolve: Callable[[str], Path]
    sender: SendsFiles
    clock: Callable[[], datetime]
    random: Random
    backoff: Backoff

    def deliver_due(self, destination: Destination) -> int:
        """Send what is due for `destination` until nothing is; return how many it stored.

        An object that was sent but not recorded, because the node was killed in between, goes out
        again: the same bytes under the same UID.
        """
        stored = 0
        while True:
            with self.sessions() as session:
                batch = due(session, destination=destination.ae_title, now=self.clock(), limit=_BATCH)
            if not batch:
                return stored
            outcomes = self._send(destination, batch)
            with self.sessions.begin() as session:
                for delivery, outcome in zip(batch, outcomes, strict=True):
                    self._record(session, delivery, outcome, committed=not destination.storage_commitment)
            taken = sum(outcome.verdict is Verdict.DELIVERED for outcome in outcomes)
            stored += taken
            # The rest of a batch that lost its association is due still: leave it to the next turn.
            if not taken:
                return stored

    def _send(self, destination: Destination, batch: Sequence[PendingDelivery]) -> list[Outcome]:
        """Send those whose files can be had; return one outcome per delivery, in order."""
        places = [self._place(delivery) for delivery in batch]
        files = [place for place in places if isinstance(place, Path)]
        sent = iter(self.sender.send(destination, files) if files else [])
        return [next(sent) if isinstance(place, Path) else place for place in places]

    def _place(self, delivery: PendingDelivery) -> Path | Outcome:
        try:
            return self.resolve(delivery.path)
        except (DamagedFileError, ValueError):
            return UNREADABLE_FILE
        except OSError:
            return FILE_NOT_READ

    def _record(
        self, session: Session, delivery: PendingDelivery, outcome: Outcome, *, committed: bool
    ) -> None:
        """Record what came of a delivery, unless it is gone: its patient may have been erased meanwhile."""
        if outcome.verdict is Verdict.NOT_TRIED:
            return
        log = _log.bind(sop_instance_uid=delivery.sop_instance_uid, destination=delivery.destination)
        if outcome.verdict is Verdict.DELIVERED and not committed:
            if mark_uncommitted(session, delivery.id, now=self.clock()):
                log.info("stored, commitment to come")
            return
        if outcome.verdict is Verdict.DELIVERED:
            if mark_delivered(session, delivery.id, now=self.clock()):
                audit_delivery(session, delivery.id, at=self.clock())
                log.info("delivered")
            return
        error = outcome.error or outcome.verdict.value
        attempt = delivery.attempts + 1
        if outcome.verdict is Verdict.PERMANENT or attempt >= self.backoff.attempts:
            if mark_dead(session, delivery.id, error=error):
                log.error("delivery given up", error=error, attempt=attempt)
            return
        next_due = self.clock() + self.backoff.delay(attempt, self.random)
        if mark_failed(session, delivery.id, error=error, next_due=next_due):
            log.warning("delivery failed", error=error, attempt=attempt, next_due=next_due.isoformat())
