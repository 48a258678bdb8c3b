"""The studies that came last, for whoever looks after the node."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.tables import Encounter, Patient, Photograph


@dataclass(frozen=True, slots=True)
class RecentStudy:
    """How far a study is. patient_id and issuer are for those only who may see them."""

    study_instance_uid: str
    last_received_at: datetime
    photographs: int
    reported: int
    patient_id: str
    issuer: str


def recent_studies(session: Session, *, limit: int) -> list[RecentStudy]:
    """Return at most `limit` studies, the one that received last first."""
    newest = (
        select(Encounter.id)
        .order_by(Encounter.last_received_at.desc(), Encounter.id.desc())
        .limit(limit)
        .subquery()
    )
    rows = session.execute(
        select(
            Encounter.study_instance_uid,
            Encounter.last_received_at,
            func.count(Photograph.id),
            func.count(Photograph.report_pk),
            Patient.patient_id,
            Patient.issuer_of_patient_id,
        )
        .join(newest, newest.c.id == Encounter.id)
        .join(Patient, Patient.id == Encounter.patient_pk)
        .outerjoin(Photograph, Photograph.encounter_pk == Encounter.id)
        .group_by(Encounter.id, Patient.id)
        .order_by(Encounter.last_received_at.desc(), Encounter.id.desc())
    )
    return [RecentStudy(*row) for row in rows]
