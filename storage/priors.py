"""For which patients the archive has not been asked yet what it has of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from storage.encounter_scores import EARLIEST_DATE
from storage.tables import Encounter, Patient, Photograph


@dataclass(frozen=True, slots=True)
class PatientToAsk:
    """newest_study: the latest study date that the node has, YYYYMMDD.

    first_study: UID of the study through which the node came to know the patient, '' where nothing is left of
    it. photographs: SOP Instance UIDs of all that came, also of those that retention has taken away since.
    """

    key: int
    patient_id: str
    issuer: str
    newest_study: str
    first_study: str
    photographs: frozenset[str]


def patients_to_ask(
    session: Session, limit: int = 20, *, waiting: Collection[int] = frozenset()
) -> list[PatientToAsk]:
    """Return patients, oldest first, whose priors were never asked for, and that have a dated study.

    waiting: keys of patients that are left out.
    """
    dated = select(Encounter.patient_pk).where(Encounter.study_date >= EARLIEST_DATE)
    # Left out here, not in the statement: that has room for so many keys only.
    keys = session.scalars(
        select(Patient.id)
        .where(Patient.priors_asked_at.is_(None), Patient.id.in_(dated))
        .order_by(Patient.id)
        .limit(limit + len(waiting))
    ).all()
    chosen = [key for key in keys if key not in waiting][:limit]
    patients = session.scalars(select(Patient).where(Patient.id.in_(chosen)).order_by(Patient.id)).all()
    return [_to_ask(session, patient) for patient in patients]


def mark_asked(session: Session, key: int, *, at: datetime) -> None:
    """Record that the archive was asked, and is not to be asked again; the caller commits."""
    session.execute(update(Patient).where(Patient.id == key).values(priors_asked_at=at))


def _to_ask(session: Session, patient: Patient) -> PatientToAsk:
    of_patient = Encounter.patient_pk == patient.id
    photographs = session.execute(
        select(Encounter.study_instance_uid, Photograph.sop_instance_uid)
        .join(Photograph, Photograph.encounter_pk == Encounter.id)
        .where(of_patient)
        .order_by(Photograph.id)
    ).all()
    return PatientToAsk(
        patient.id,
        patient.patient_id,
        patient.issuer_of_patient_id,
        session.scalar(select(func.max(Encounter.study_date)).where(of_patient)) or "",
        photographs[0][0] if photographs else "",
        frozenset(uid for _, uid in photographs),
    )
