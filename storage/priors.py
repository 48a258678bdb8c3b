"""For which patients the archive has not been asked yet what it has of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from storage.encounter_scores import EARLIEST_DATE
from storage.tables import Encounter, Patient


@dataclass(frozen=True, slots=True)
class PatientToAsk:
    """newest_study: the latest study date that the node has, YYYYMMDD. studies: UIDs of all that it has."""

    key: int
    patient_id: str
    issuer: str
    newest_study: str
    studies: tuple[str, ...]


def patients_to_ask(session: Session, limit: int = 20) -> list[PatientToAsk]:
    """Return patients, oldest first, whose priors were never asked for, and that have a dated study."""
    dated = select(Encounter.patient_pk).where(Encounter.study_date >= EARLIEST_DATE)
    patients = session.scalars(
        select(Patient)
        .where(Patient.priors_asked_at.is_(None), Patient.id.in_(dated))
        .order_by(Patient.id)
        .limit(limit)
    ).all()
    return [_to_ask(session, patient) for patient in patients]


def mark_asked(session: Session, key: int, *, at: datetime) -> None:
    """Record that the archive was asked and did what it was asked; the caller commits."""
    session.execute(update(Patient).where(Patient.id == key).values(priors_asked_at=at))


def _to_ask(session: Session, patient: Patient) -> PatientToAsk:
    rows = session.execute(
        select(Encounter.study_instance_uid, Encounter.study_date).where(Encounter.patient_pk == patient.id)
    ).all()
    return PatientToAsk(
        patient.id,
        patient.patient_id,
        patient.issuer_of_patient_id,
        max(row[1] for row in rows),
        tuple(row[0] for row in rows),
    )
