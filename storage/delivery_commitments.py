"""Deliveries that a destination has stored and is yet to commit itself to (PS3.4 annex J).

A report is known by its transaction: it counts even when it comes after its time, unless another request
for the same object has taken its place.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from storage.deliveries import DEAD, DELIVERED, DUE, UNCOMMITTED, PendingDelivery, pending
from storage.moments import has_come
from storage.tables import Artefact, Delivery


@dataclass(frozen=True, slots=True)
class ReportedDelivery:
    """A delivery that a report speaks of, as it is now; attempts: how often the object was sent."""

    id: int
    attempts: int
    sop_instance_uid: str


def to_ask(session: Session, *, destination: str, now: datetime, limit: int) -> list[PendingDelivery]:
    """Return at most `limit` stored deliveries whose commitment is to be asked for now, oldest first."""
    wanted = (
        Delivery.state == UNCOMMITTED,
        Delivery.transaction_uid.is_(None),
        Delivery.destination == destination,
        has_come(Delivery.due_at, now),
    )
    return pending(session, *wanted, limit=limit)


def overdue(session: Session, *, destination: str, now: datetime, limit: int) -> list[PendingDelivery]:
    """Return at most `limit` stored deliveries that were asked for and have had no report in time."""
    wanted = (
        Delivery.state == UNCOMMITTED,
        Delivery.transaction_uid.is_not(None),
        Delivery.destination == destination,
        has_come(Delivery.due_at, now),
    )
    return pending(session, *wanted, limit=limit)


def begin_transaction(
    session: Session, deliveries: Sequence[int], *, transaction_uid: str, deadline: datetime
) -> None:
    """Record the request before it is made, or its report could come first; the caller commits."""
    session.execute(
        update(Delivery)
        .where(Delivery.id.in_(deliveries), Delivery.state == UNCOMMITTED)
        .values(transaction_uid=transaction_uid, due_at=deadline)
    )


def ask_again(session: Session, delivery_id: int, *, error: str, next_due: datetime) -> None:
    """Record that the request did not get through, as one more attempt; the caller commits."""
    session.execute(
        update(Delivery)
        .where(Delivery.id == delivery_id, Delivery.state == UNCOMMITTED)
        .values(transaction_uid=None, due_at=next_due, last_error=error, attempts=Delivery.attempts + 1)
    )


def send_again(session: Session, delivery_id: int, *, error: str, next_due: datetime) -> bool:
    """Make an uncommitted delivery due for sending; its transaction stays known. The caller commits.

    Returns, as `give_up` does, whether it was uncommitted still: a report may have come meanwhile.
    """
    return _update_uncommitted(session, delivery_id, state=DUE, due_at=next_due, last_error=error)


def give_up(session: Session, delivery_id: int, *, error: str) -> bool:
    """Give an uncommitted delivery up until someone revives it; the caller commits."""
    return _update_uncommitted(session, delivery_id, state=DEAD, last_error=error)


def take_commitment(
    session: Session, transaction_uid: str, *, destination: str, committed: Collection[str], now: datetime
) -> list[ReportedDelivery]:
    """Record what a destination commits itself to (SOP Instance UIDs) as delivered; return what was new.

    What was erased since it was looked up is none of it. The caller commits.
    """
    states = (UNCOMMITTED, DUE, DEAD)
    found = _of_transaction(session, transaction_uid, destination, committed, states)
    recorded = session.scalars(
        update(Delivery)
        .where(Delivery.id.in_([row.id for row in found]), Delivery.state.in_(states))
        .values(state=DELIVERED, delivered_at=now, last_error=None)
        .returning(Delivery.id)
    )
    there = set(recorded)
    return [row for row in found if row.id in there]


def refused_commitments(
    session: Session, transaction_uid: str, *, destination: str, failed: Collection[str]
) -> list[ReportedDelivery]:
    """Return the uncommitted deliveries of a transaction that the destination refuses to commit itself to."""
    return _of_transaction(session, transaction_uid, destination, failed, (UNCOMMITTED,))


def knows_transaction(session: Session, transaction_uid: str, destination: str) -> bool:
    """Whether the latest request for some delivery to `destination` was this transaction."""
    wanted = select(Delivery.id).where(
        Delivery.transaction_uid == transaction_uid, Delivery.destination == destination
    )
    return session.scalar(wanted.limit(1)) is not None


def _update_uncommitted(session: Session, delivery_id: int, **values: object) -> bool:
    moved = session.scalar(
        update(Delivery)
        .where(Delivery.id == delivery_id, Delivery.state == UNCOMMITTED)
        .values(**values)
        .returning(Delivery.id)
    )
    return moved is not None


def _of_transaction(
    session: Session, transaction_uid: str, destination: str, uids: Collection[str], states: Sequence[str]
) -> list[ReportedDelivery]:
    rows = session.execute(
        select(Delivery.id, Delivery.attempts, Artefact.sop_instance_uid)
        .join(Artefact, Artefact.id == Delivery.artefact_pk)
        .where(
            Delivery.transaction_uid == transaction_uid,
            Delivery.destination == destination,
            Delivery.state.in_(states),
        )
        .order_by(Delivery.id)
    )
    # Compared here: a hostile report may name more UIDs than a query takes.
    return [ReportedDelivery(*row) for row in rows if row.sop_instance_uid in uids]
