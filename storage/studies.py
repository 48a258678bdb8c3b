"""Which studies have work to do."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.tables import Encounter, Photograph, Scoring


@dataclass(frozen=True, slots=True)
class OpenStudy:
    """A study with at least one photograph that no report covers.

    photographs: the SOP Instance UIDs of all its photographs, covered ones included, sorted; not those that
    retention has taken away, which the earlier reports tell of.
    """

    study_instance_uid: str
    photographs: tuple[str, ...]


# As `pipeline.encounter_score.EncounterScore.order`.
_BY_TIME = (Encounter.study_date, Encounter.study_time, Encounter.study_instance_uid)


def quiet_studies(session: Session, *, now: datetime, quiet_seconds: float) -> list[OpenStudy]:
    """Return the open studies that received nothing for `quiet_seconds`, longest quiet first.

    What is covered stays closed when the scoring setup changes: an upgrade must not score a whole
    archive again by itself. The cost follows the number of uncovered photographs, not of all.
    """
    uncovered = select(Photograph.encounter_pk).where(Photograph.report_pk.is_(None))
    encounters = session.scalars(
        select(Encounter)
        .where(
            Encounter.id.in_(uncovered), Encounter.last_received_at <= now - timedelta(seconds=quiet_seconds)
        )
        .order_by(Encounter.last_received_at, Encounter.id)
    ).all()
    members: dict[int, list[str]] = defaultdict(list)
    for encounter_pk, uid in session.execute(
        select(Photograph.encounter_pk, Photograph.sop_instance_uid).where(
            Photograph.encounter_pk.in_(uncovered), Photograph.purged_at.is_(None)
        )
    ):
        members[encounter_pk].append(uid)
    return [OpenStudy(e.study_instance_uid, tuple(sorted(members[e.id]))) for e in encounters]


def photographs_of(session: Session, uids: tuple[str, ...] | list[str]) -> list[Photograph]:
    """Return the photographs with these SOP Instance UIDs, oldest first.

    Raises:
        LookupError: one of them is not stored.

    """
    rows = session.scalars(
        select(Photograph)
        .where(Photograph.sop_instance_uid.in_(uids))
        .order_by(Photograph.received_at, Photograph.id)
    ).all()
    missing = set(uids) - {row.sop_instance_uid for row in rows}
    if missing:
        raise LookupError(f"no stored photograph has the SOP Instance UID {min(missing)}")
    return list(rows)


def later_covered_photographs(session: Session, sop_instance_uid: str, setup_digest: str) -> list[str]:
    """Return the photographs of the patient's newest study, where a report on it should now show more.

    That is so when the study is dated after the one of the given photograph, has a report, was scored under
    the setup, and nothing else of the patient waits for its own report, which would ask again.
    """
    (photograph,) = photographs_of(session, [sop_instance_uid])
    own = session.get_one(Encounter, photograph.encounter_pk)
    waiting = session.scalar(
        select(Photograph.id)
        .join(Encounter, Encounter.id == Photograph.encounter_pk)
        .where(Encounter.patient_pk == own.patient_pk, Photograph.report_pk.is_(None))
        .limit(1)
    )
    newest = session.scalar(
        select(Encounter)
        .where(Encounter.patient_pk == own.patient_pk)
        .order_by(*(column.desc() for column in _BY_TIME))
        .limit(1)
    )
    if waiting is not None or newest is None or newest.id == own.id or not own.study_date:
        return []
    return list(
        session.scalars(
            select(Photograph.sop_instance_uid)
            .join(Scoring, Scoring.photograph_pk == Photograph.id)
            .where(Photograph.encounter_pk == newest.id, Scoring.setup_digest == setup_digest)
            .order_by(Photograph.sop_instance_uid)
        )
    )
