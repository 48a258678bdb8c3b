"""Artefacts on their way to destinations. Times come from the caller's clock.

due -> delivered, or due -> uncommitted -> delivered where the destination has to commit itself to storage
(PS3.4 annex J); dead where it was given up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, func, select, update
from sqlalchemy.orm import Session

from storage.moments import has_come
from storage.tables import Artefact, Delivery

DUE = "due"
UNCOMMITTED = "uncommitted"
DELIVERED = "delivered"
DEAD = "dead"
# Asked for by name, not as "other than delivered": so the index on the state finds the few among millions.
UNDONE = (DUE, UNCOMMITTED, DEAD)


@dataclass(frozen=True, slots=True)
class PendingDelivery:
    """A delivery that is not done, with what its sender needs.

    path: of the object's file, relative to the data folder. attempts: those made so far.
    error: the class of the last failure, None before the first. state: due | uncommitted | dead.
    """

    id: int
    destination: str
    attempts: int
    due_at: datetime
    error: str | None
    sop_instance_uid: str
    sop_class_uid: str
    path: str
    state: str


def add_deliveries(
    session: Session, artefact_pk: int, destinations: Iterable[str], *, due_at: datetime
) -> None:
    """Add one due delivery per destination (AE title); the caller commits.

    Raises:
        sqlalchemy.exc.IntegrityError: the artefact has a delivery to one of them already.

    """
    session.add_all(
        Delivery(artefact_pk=artefact_pk, destination=title, state=DUE, attempts=0, due_at=due_at)
        for title in destinations
    )
    session.flush()


def due(session: Session, *, destination: str, now: datetime, limit: int) -> list[PendingDelivery]:
    """Return at most `limit` deliveries to `destination` whose time has come, oldest first."""
    wanted = (Delivery.state == DUE, Delivery.destination == destination, has_come(Delivery.due_at, now))
    return pending(session, *wanted, limit=limit)


def waiting(session: Session) -> list[PendingDelivery]:
    """Return every delivery that will be tried, now or later, or that waits for its commitment."""
    return _read(session, _pending(DUE, UNCOMMITTED))


def dead(session: Session) -> list[PendingDelivery]:
    """Return every delivery that was given up."""
    return _read(session, _pending(DEAD))


def mark_delivered(session: Session, delivery_id: int, *, now: datetime) -> bool:
    """Record that the destination answered that it stored the object; the caller commits.

    Like all of these, returns whether the delivery was due still: it may have been settled meanwhile, or be
    gone with its patient.
    """
    return _update_due(session, delivery_id, state=DELIVERED, delivered_at=now, last_error=None)


def mark_uncommitted(session: Session, delivery_id: int, *, now: datetime) -> bool:
    """Record that the destination answered Success, and is yet to commit itself; the caller commits."""
    return _update_due(
        session, delivery_id, state=UNCOMMITTED, due_at=now, last_error=None, transaction_uid=None
    )


def mark_failed(session: Session, delivery_id: int, *, error: str, next_due: datetime) -> bool:
    """Record a failure that is worth another attempt at `next_due`; the caller commits."""
    return _update_due(session, delivery_id, due_at=next_due, last_error=error)


def mark_dead(session: Session, delivery_id: int, *, error: str) -> bool:
    """Give the delivery up until someone revives it; the caller commits."""
    return _update_due(session, delivery_id, state=DEAD, last_error=error)


def give_up_unknown(session: Session, *, known: Collection[str]) -> int:
    """Give up what waits for a destination that there is no more; return how many. The caller commits.

    known: the AE titles that there are.
    """
    found = session.scalars(
        update(Delivery)
        .where(Delivery.state.in_((DUE, UNCOMMITTED)), Delivery.destination.not_in(known))
        .values(state=DEAD, last_error="destination_not_configured")
        .returning(Delivery.id)
    )
    return len(found.all())


def revive(session: Session, *, now: datetime, ids: Iterable[int] | None = None) -> list[int]:
    """Make dead deliveries due at once with a fresh count of attempts; the caller commits.

    ids: the deliveries to revive, None for every dead one. Return the ids of those that were dead.
    """
    # In one statement that does not list them: of many, there would be more than a statement can name.
    revived = update(Delivery).where(Delivery.state == DEAD).values(state=DUE, attempts=0, due_at=now)
    if ids is not None:
        revived = revived.where(Delivery.id.in_(list(ids)))
    return sorted(session.scalars(revived.returning(Delivery.id)))


def count_deliveries(session: Session) -> dict[str, int]:
    """Return state -> number of deliveries, with every state present."""
    query = select(Delivery.state, func.count()).group_by(Delivery.state)
    counted = {row[0]: row[1] for row in session.execute(query)}
    return {DUE: 0, UNCOMMITTED: 0, DELIVERED: 0, DEAD: 0} | counted


def count_undelivered(session: Session) -> dict[str, int]:
    """Return state -> number of deliveries that are not delivered, each of these states present.

    Unlike `count_deliveries` it does not look at what has been delivered.
    """
    states = (DUE, UNCOMMITTED, DEAD)
    query = select(Delivery.state, func.count()).where(Delivery.state.in_(states)).group_by(Delivery.state)
    return dict.fromkeys(states, 0) | {row[0]: row[1] for row in session.execute(query)}


def count_failing(session: Session) -> dict[tuple[str, str], int]:
    """Return (destination, class of the last failure) -> number of deliveries that are not done."""
    query = (
        select(Delivery.destination, Delivery.last_error, func.count())
        .where(Delivery.state.in_(UNDONE), Delivery.last_error.is_not(None))
        .group_by(Delivery.destination, Delivery.last_error)
    )
    return {(row[0], row[1] or ""): row[2] for row in session.execute(query)}


def pending(session: Session, *conditions: ColumnElement[bool], limit: int) -> list[PendingDelivery]:
    """Return at most `limit` deliveries that meet every condition, oldest first."""
    query = (
        select(Delivery, Artefact)
        .join(Artefact, Artefact.id == Delivery.artefact_pk)
        .where(*conditions)
        .order_by(Delivery.id)
        .limit(limit)
    )
    return _read(session, query)


def _pending(*states: str) -> Select[Delivery, Artefact]:
    return (
        select(Delivery, Artefact)
        .join(Artefact, Artefact.id == Delivery.artefact_pk)
        .where(Delivery.state.in_(states))
        .order_by(Delivery.id)
    )


def _read(session: Session, query: Select[Delivery, Artefact]) -> list[PendingDelivery]:
    return [
        PendingDelivery(
            id=delivery.id,
            destination=delivery.destination,
            attempts=delivery.attempts,
            due_at=delivery.due_at,
            error=delivery.last_error,
            sop_instance_uid=artefact.sop_instance_uid,
            sop_class_uid=artefact.sop_class_uid,
            path=artefact.path,
            state=delivery.state,
        )
        for delivery, artefact in session.execute(query)
    ]


def _update_due(session: Session, delivery_id: int, **values: object) -> bool:
    # Only a due row moves: a late answer must not bring back what was settled meanwhile.
    moved = session.scalar(
        update(Delivery)
        .where(Delivery.id == delivery_id, Delivery.state == DUE)
        .values(attempts=Delivery.attempts + 1, **values)
        .returning(Delivery.id)
    )
    return moved is not None
