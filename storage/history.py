"""A patient's scores over the encounters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.patients import find_patient
from storage.tables import Encounter, Photograph, Scoring


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One photograph under one scoring setup, or one that waits for its first (`status` "waiting").

    study_date: YYYYMMDD or ''. score: 1 (most deformed) to 7 (most normal), None unless scored.
    uncertainty: one standard deviation in points of that scale. reason: why it was rejected. setup_digest:
    `Provenance.digest()`; only scores of equal ones may be compared. device, batch, device_fault: see
    `pipeline.computation`. nearest_average: see `pipeline.result.Score`.
    """

    study_date: str
    accession_number: str
    study_instance_uid: str
    sop_instance_uid: str
    status: str
    score: float | None
    uncertainty: float | None
    reason: str | None
    generator: str | None
    regressor: str | None
    setup_digest: str | None
    device: str | None
    batch: int | None
    device_fault: str | None
    nearest_average: int | None
    features: Mapping[str, float]


def patient_history(
    session: Session, patient_id: str, issuer_of_patient_id: str | None = None
) -> tuple[HistoryEntry, ...]:
    """Return a patient's photographs and scores, oldest encounter first.

    Without an issuer the identifier alone must name one patient.

    Raises:
        UnknownPatientError: there is no such patient.
        AmbiguousPatientError: several issuers use the identifier, and none was given.

    """
    patient = find_patient(session, patient_id, issuer_of_patient_id)
    rows = session.execute(
        select(Encounter, Photograph, Scoring)
        .join(Photograph, Photograph.encounter_pk == Encounter.id)
        .outerjoin(Scoring, Scoring.photograph_pk == Photograph.id)
        .where(Encounter.patient_pk == patient.id)
        .order_by(
            Encounter.study_date,
            Encounter.study_time,
            Encounter.id,
            Photograph.received_at,
            Photograph.id,
            Scoring.id,
        )
    )
    return tuple(_entry(encounter, photograph, scoring) for encounter, photograph, scoring in rows)


def _entry(encounter: Encounter, photograph: Photograph, scoring: Scoring | None) -> HistoryEntry:
    result: dict[str, Any] = scoring.result if scoring else {}
    computation = result.get("computation") or {}
    return HistoryEntry(
        study_date=encounter.study_date,
        accession_number=encounter.accession_number,
        study_instance_uid=encounter.study_instance_uid,
        sop_instance_uid=photograph.sop_instance_uid,
        status=scoring.status if scoring else "waiting",
        score=scoring.score if scoring else None,
        uncertainty=scoring.uncertainty if scoring else None,
        reason=result.get("reason"),
        generator=scoring.generator if scoring else None,
        regressor=scoring.regressor if scoring else None,
        setup_digest=scoring.setup_digest if scoring else None,
        device=computation.get("device"),
        batch=computation.get("batch"),
        device_fault=computation.get("fault"),
        nearest_average=result.get("nearest_average"),
        features=MappingProxyType(dict(result.get("features") or {})),
    )
