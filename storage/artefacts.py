"""The finished objects: their rows, written together with the deliveries that they call for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from storage.deliveries import add_deliveries
from storage.tables import Artefact, Photograph, Scoring

NORMALIZED_PHOTOGRAPH = "normalized_photograph"
NORMALIZED_IN_PLACE = "normalized_in_place"
COMPARISON = "comparison"
TREND = "trend"
PATIENT_PDF = "patient_pdf"
STRUCTURED_REPORT = "structured_report"


@dataclass(frozen=True, slots=True)
class FinishedObject:
    """A DICOM object of ours whose file is durable already.

    path: relative to the data folder. sha256: of the whole file, in hexadecimal.
    """

    kind: str
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    sha256: str
    path: str


def add_artefact(
    session: Session,
    finished: FinishedObject,
    *,
    encounter_pk: int,
    scorings: Sequence[Scoring],
    destinations: Iterable[str],
    created_at: datetime,
    predecessor: Artefact | None = None,
    shown: Sequence[str] = (),
) -> Artefact:
    """Add the artefact with one delivery per destination (AE titles), due at once; the caller commits.

    scorings: those that it is made of. shown: the names of these and of every earlier one that it shows.

    Raises:
        sqlalchemy.exc.IntegrityError: an artefact with this SOP Instance UID exists already.

    """
    row = Artefact(
        encounter_pk=encounter_pk,
        kind=finished.kind,
        sop_instance_uid=finished.sop_instance_uid,
        sop_class_uid=finished.sop_class_uid,
        series_instance_uid=finished.series_instance_uid,
        scoring_pks=[scoring.id for scoring in scorings],
        shown=sorted(shown),
        predecessor_pk=predecessor.id if predecessor else None,
        sha256=finished.sha256,
        path=finished.path,
        created_at=created_at,
    )
    session.add(row)
    session.flush()
    add_deliveries(session, row.id, destinations, due_at=created_at)
    return row


def cover_photographs(session: Session, report: Artefact, photographs: Iterable[Photograph]) -> None:
    """Let each photograph name `report` as the newest one that covers it; the caller commits."""
    keys = [photograph.id for photograph in photographs]
    session.execute(update(Photograph).where(Photograph.id.in_(keys)).values(report_pk=report.id))


def latest_report(session: Session, encounter_pk: int) -> Artefact | None:
    """Return the study's newest structured report, which the next one succeeds, or None."""
    return latest_of_encounter(session, encounter_pk, STRUCTURED_REPORT)


def latest_of_encounter(session: Session, encounter_pk: int, kind: str) -> Artefact | None:
    """Return the study's newest object of `kind`, or None."""
    return session.scalar(
        select(Artefact)
        .where(Artefact.encounter_pk == encounter_pk, Artefact.kind == kind)
        .order_by(Artefact.id.desc())
        .limit(1)
    )


def names_file(session: Session, path: str) -> bool:
    """Whether an object that is recorded has its file at `path`."""
    return session.scalar(select(Artefact.id).where(Artefact.path == path).limit(1)) is not None


def latest_of_photograph(session: Session, photograph: Photograph, kind: str) -> Artefact | None:
    """Return the newest object of `kind` that was made of any scoring of the photograph, or None."""
    own = set(session.scalars(select(Scoring.id).where(Scoring.photograph_pk == photograph.id)))
    candidates = session.scalars(
        select(Artefact)
        .where(Artefact.encounter_pk == photograph.encounter_pk, Artefact.kind == kind)
        .order_by(Artefact.id.desc())
    )
    return next((row for row in candidates if own.intersection(row.scoring_pks)), None)


def object_of_scoring(session: Session, encounter_pk: int, scoring: Scoring, kind: str) -> Artefact | None:
    """Return the newest object of `kind` that `scoring` made, or None, as for a rejected photograph."""
    candidates = session.scalars(
        select(Artefact)
        .where(Artefact.encounter_pk == encounter_pk, Artefact.kind == kind)
        .order_by(Artefact.id.desc())
    )
    return next((row for row in candidates if row.scoring_pks == [scoring.id]), None)
