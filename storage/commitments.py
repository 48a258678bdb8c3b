"""What senders asked us to commit ourselves to, and what of it we hold (PS3.4 annex J, SCP)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from storage.moments import has_come
from storage.tables import Artefact, Commitment, Photograph

DUE = "due"
REPORTED = "reported"
DEAD = "dead"
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Held:
    """An object that we have a row of; path: relative to the data folder."""

    sop_class_uid: str
    path: str
    sha256: str


def add_request(
    session: Session,
    *,
    ae_title: str,
    transaction_uid: str,
    instances: Sequence[tuple[str, str]],
    now: datetime,
) -> None:
    """Record a request, due at once; the same again starts it anew. The caller commits.

    instances: (SOP class UID, SOP Instance UID) pairs.
    """
    row = session.scalar(
        select(Commitment).where(
            Commitment.ae_title == ae_title, Commitment.transaction_uid == transaction_uid
        )
    )
    if row is None:
        row = Commitment(ae_title=ae_title, transaction_uid=transaction_uid)
        session.add(row)
    row.instances = [list(pair) for pair in instances]
    row.requested_at = row.due_at = now
    row.state, row.attempts, row.last_error = DUE, 0, None
    session.flush()


def due_requests(session: Session, *, ae_title: str, now: datetime, limit: int) -> list[Commitment]:
    """Return at most `limit` requests of a sender whose report is to be sent now, oldest first."""
    query = select(Commitment).where(
        Commitment.state == DUE, Commitment.ae_title == ae_title, has_come(Commitment.due_at, now)
    )
    return list(session.scalars(query.order_by(Commitment.id).limit(limit)))


def due_request(session: Session, *, ae_title: str, transaction_uid: str) -> Commitment | None:
    """Return this request of a sender, None where its report was sent or given up."""
    query = select(Commitment).where(
        Commitment.state == DUE,
        Commitment.ae_title == ae_title,
        Commitment.transaction_uid == transaction_uid,
    )
    return session.scalar(query)


def settle_request(
    session: Session, request_id: int, *, state: str, due_at: datetime, error: str | None
) -> None:
    """Record one more attempt to report, and what is next; the caller commits."""
    session.execute(
        update(Commitment)
        .where(Commitment.id == request_id)
        .values(state=state, due_at=due_at, last_error=error, attempts=Commitment.attempts + 1)
    )


def forget_unreportable(session: Session, *, reachable: Collection[str], before: datetime) -> int:
    """Give up requests made before a time by senders that take no report; the caller commits.

    reachable: the AE titles that do. Returns how many.
    """
    found = session.scalars(
        update(Commitment)
        .where(
            Commitment.state == DUE, Commitment.requested_at < before, Commitment.ae_title.not_in(reachable)
        )
        .values(state=DEAD, last_error="nobody_to_report_to")
        .returning(Commitment.id)
    )
    return len(found.all())


def held_objects(session: Session, sop_instance_uids: Sequence[str]) -> dict[str, Held]:
    """Return SOP Instance UID -> what we hold under it, a photograph or a result of ours."""
    held: dict[str, Held] = {}
    # A statement takes a limited number of values, and a request may name any number.
    for start in range(0, len(sop_instance_uids), _AT_ONCE):
        some = sop_instance_uids[start : start + _AT_ONCE]
        for table in (Artefact, Photograph):
            columns = (table.sop_instance_uid, table.sop_class_uid, table.path, table.sha256)
            rows = session.execute(select(*columns).where(table.sop_instance_uid.in_(some)))
            held |= {uid: Held(*row) for uid, *row in rows}
    return held
