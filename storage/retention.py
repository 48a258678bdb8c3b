"""What may go: files whose time is over, and that nothing is waiting for. Their rows stay."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from sqlalchemy import and_, exists, select
from sqlalchemy.orm import Session, aliased

from storage.audit import NODE, Event, audit_artefact, audit_photograph
from storage.deliveries import UNDONE
from storage.tables import Artefact, Delivery, Photograph, Scoring


def purge_photographs(
    session: Session,
    delete: Callable[[str], None],
    *,
    before: datetime,
    now: datetime,
    limit: int,
    begun: Collection[str] | None = None,
    is_there: Callable[[str], bool] = lambda _: False,
) -> int:
    """Delete the files of photographs received before a time; return how many. The caller commits.

    Only such as a report covers, and of whose study every result has been delivered and nothing waits for a
    report, which tells of all that is there and reads their headers. begun: instead, those with these paths,
    whose files are gone, whatever has been asked of them since they were due. is_there: whether such a file
    has come again: its sender has our word that it is kept, so it is left for the next time.
    """
    other = aliased(Photograph)
    unreported = exists(
        select(other.id).where(
            other.encounter_pk == Photograph.encounter_pk,
            other.report_pk.is_(None),
            other.purged_at.is_(None),
        )
    )
    undelivered = aliased(Artefact)
    waiting = exists(
        select(Delivery.id)
        .join(undelivered, undelivered.id == Delivery.artefact_pk)
        .where(undelivered.encounter_pk == Photograph.encounter_pk, Delivery.state.in_(UNDONE))
    )
    due = and_(Photograph.report_pk.is_not(None), ~waiting, ~unreported)
    query = (
        select(Photograph)
        .where(
            Photograph.purged_at.is_(None),
            Photograph.received_at < before,
            due if begun is None else Photograph.path.in_(begun),
        )
        .order_by(Photograph.received_at)
        .limit(limit)
    )
    if begun is None:
        found = session.scalars(query).all()
    else:  # PostgreSQL: nobody records it as come again meanwhile; SQLite admits one writer in any case
        locked = session.scalars(query.with_for_update()).all()
        found = [photograph for photograph in locked if not is_there(photograph.path)]
    for photograph in found:
        # The file first: a process that ends in between finds the row again.
        delete(photograph.path)
        _purge_pictures(session, delete, photograph)
        photograph.purged_at = now
        audit_photograph(session, Event.PURGED, photograph, at=now, actor=NODE, outcome="success")
    return len(found)


def _purge_pictures(session: Session, delete: Callable[[str], None], photograph: Photograph) -> None:
    """Delete what was kept of the photograph for later comparisons; it shows the face as much."""
    scorings = select(Scoring).where(
        Scoring.photograph_pk == photograph.id, Scoring.pictures_path.is_not(None)
    )
    for scoring in session.scalars(scorings):
        if scoring.pictures_path is not None:
            delete(scoring.pictures_path)
        scoring.pictures_path = None


def purge_results(
    session: Session,
    delete: Callable[[str], None],
    *,
    before: datetime,
    now: datetime,
    limit: int,
    begun: Collection[str] | None = None,
) -> int:
    """Delete the files of results made before a time and delivered; return how many. The caller commits.

    begun: as of `purge_photographs`.
    """
    waiting = exists(
        select(Delivery.id).where(Delivery.artefact_pk == Artefact.id, Delivery.state.in_(UNDONE))
    )
    found = session.scalars(
        select(Artefact)
        .where(
            Artefact.purged_at.is_(None),
            Artefact.created_at < before,
            ~waiting if begun is None else Artefact.path.in_(begun),
        )
        .order_by(Artefact.created_at)
        .limit(limit)
    ).all()
    for artefact in found:
        delete(artefact.path)
        artefact.purged_at = now
        audit_artefact(session, Event.PURGED, artefact, at=now, detail={"kind": artefact.kind})
    return len(found)
