"""A result counts as delivered when its destination has committed itself to keep it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Protocol

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.caller import Peer
from dicom_node.commitment_dataset import Reference, UnusableCommitmentError, read_report
from dicom_node.outbox import Backoff
from dicom_node.sender import Outcome, Verdict
from storage.audit import audit_delivery
from storage.deliveries import PendingDelivery
from storage.delivery_commitments import (
    ReportedDelivery,
    ask_again,
    begin_transaction,
    give_up,
    knows_transaction,
    overdue,
    refused_commitments,
    send_again,
    take_commitment,
    to_ask,
)

_log = structlog.get_logger(__name__)

_BATCH = 200
_SUCCESS = 0x0000
# PS3.7 annex C.5.
_INVALID_ARGUMENT_VALUE = 0x0115


class AsksForCommitment(Protocol):
    """What is needed of the requests' sender."""

    def ask(
        self,
        destination: Peer,
        transaction_uid: str,
        references: list[Reference],
        on_report: Callable[[Dataset], int],
        /,
    ) -> Outcome:
        """Make one request; raise nothing for network trouble."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitments:
    """Asks destinations for commitment, takes their reports, and sends again what they do not have.

    timeout_seconds: how long to wait for a report before an object is sent again.
    """

    sessions: sessionmaker[Session]
    scu: AsksForCommitment
    clock: Callable[[], datetime]
    random: Random
    backoff: Backoff
    timeout_seconds: float

    def ask_due(self, destination: Peer) -> int:
        """Ask for what was stored and is not committed; return how many objects were asked for.

        The transaction is recorded first. A node that is killed before it has asked waits for a report that
        cannot come, and then sends again: the same bytes under the same UID.
        """
        self._send_overdue_again(destination)
        asked = 0
        while True:
            with self.sessions() as session:
                batch = to_ask(session, destination=destination.ae_title, now=self.clock(), limit=_BATCH)
            if not batch:
                return asked
            if not self._ask(destination, batch):
                return asked
            asked += len(batch)

    def take_report(self, destination: str, information: Dataset) -> int:
        """Record what the destination (AE title) reports; return the status that answers it."""
        try:
            report = read_report(information)
        except UnusableCommitmentError:
            _log.warning("commitment report cannot be understood", destination=destination)
            return _INVALID_ARGUMENT_VALUE
        transaction, now = report.transaction_uid, self.clock()
        with self.sessions.begin() as session:
            known = knows_transaction(session, transaction, destination)
            committed = take_commitment(
                session, transaction, destination=destination, committed=report.committed, now=now
            )
            for delivery in committed:
                audit_delivery(session, delivery.id, at=now)
            refused = refused_commitments(session, transaction, destination=destination, failed=report.failed)
            for delivery in refused:
                self._send_again(
                    session, delivery, f"commitment_{report.failed[delivery.sop_instance_uid]:04X}"
                )
        if not known:
            # Another request has taken its place: what is in it, that one's report will say.
            _log.warning("report of an unknown commitment", destination=destination)
        for delivery in committed:
            _log.info("committed", sop_instance_uid=delivery.sop_instance_uid, destination=destination)
        return _SUCCESS

    def _ask(self, destination: Peer, batch: list[PendingDelivery]) -> bool:
        transaction = generate_uid()
        deadline = self.clock() + timedelta(seconds=self.timeout_seconds)
        with self.sessions.begin() as session:
            keys = [delivery.id for delivery in batch]
            begin_transaction(session, keys, transaction_uid=transaction, deadline=deadline)
        references = [(delivery.sop_class_uid, delivery.sop_instance_uid) for delivery in batch]
        outcome = self.scu.ask(
            destination, transaction, references, partial(self.take_report, destination.ae_title)
        )
        if outcome.verdict is Verdict.DELIVERED:
            _log.info("commitment asked for", destination=destination.ae_title, count=len(batch))
            return True
        error = f"commitment_{outcome.error}"
        _log.warning("commitment not asked for", destination=destination.ae_title, error=error)
        with self.sessions.begin() as session:
            for delivery in batch:
                attempt = delivery.attempts + 1
                if outcome.verdict is Verdict.PERMANENT or attempt >= self.backoff.attempts:
                    give_up(session, delivery.id, error=error)
                else:
                    next_due = self.clock() + self.backoff.delay(attempt, self.random)
                    ask_again(session, delivery.id, error=error, next_due=next_due)
        return False

    def _send_overdue_again(self, destination: Peer) -> None:
        with self.sessions() as session:
            late = overdue(session, destination=destination.ae_title, now=self.clock(), limit=_BATCH)
        if not late:
            return
        with self.sessions.begin() as session:
            for delivery in late:
                known = ReportedDelivery(delivery.id, delivery.attempts, delivery.sop_instance_uid)
                self._send_again(session, known, "commitment_timeout")

    def _send_again(self, session: Session, delivery: ReportedDelivery, error: str) -> None:
        if delivery.attempts >= self.backoff.attempts:
            if give_up(session, delivery.id, error=error):
                _log.error("delivery given up", sop_instance_uid=delivery.sop_instance_uid, error=error)
            return
        next_due = self.clock() + self.backoff.delay(delivery.attempts, self.random)
        if send_again(session, delivery.id, error=error, next_due=next_due):
            _log.warning(
                "not committed, to be sent again",
                sop_instance_uid=delivery.sop_instance_uid,
                error=error,
                next_due=next_due.isoformat(),
            )
