"""Patients: found by identifier and issuer, joined when the PACS joined them, erased, scored anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.orm import Session

from storage.audit import Event, add_audit_event
from storage.tables import Artefact, Delivery, Encounter, Patient, Photograph, Scoring


class UnknownPatientError(LookupError):
    """No patient has this identifier (and issuer)."""


class AmbiguousPatientError(LookupError):
    """Several issuers know this identifier; they are different people until told otherwise."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the database holds of a patient.

    paths: every file, relative to the data folder. sent: those of photographs, which may be sent again.
    """

    studies: tuple[str, ...]
    photographs: int
    objects: int
    paths: tuple[str, ...]
    sent: tuple[str, ...]


def find_patient(session: Session, patient_id: str, issuer: str | None = None) -> Patient:
    """Return the patient with this identifier; without an issuer it must be the only one.

    Raises:
        UnknownPatientError: there is no such patient.
        AmbiguousPatientError: several issuers use the identifier, and none was given.

    """
    try:
        f"{patient_id}{issuer or ''}".encode()
    except UnicodeEncodeError:  # typed on a terminal of another encoding; no database takes it
        raise UnknownPatientError("no patient has this identifier") from None
    query = select(Patient).where(Patient.patient_id == patient_id)
    if issuer is not None:
        query = query.where(Patient.issuer_of_patient_id == issuer)
    found = session.scalars(query).all()
    if not found:
        raise UnknownPatientError("no patient has this identifier")
    if len(found) > 1:
        raise AmbiguousPatientError("several issuers use this identifier")
    return found[0]


def lock_patient(session: Session, patient_pk: int) -> None:
    """Let nobody else who calls this go on for the same patient until this transaction ends.

    SQLite admits one writer in any case.
    """
    session.execute(select(Patient.id).where(Patient.id == patient_pk).with_for_update())


def lock_holdings(session: Session, patient: Patient) -> None:
    """Let nobody add to what there is of the patient until this transaction ends; wait for who does.

    A row that names one of these, as every new one does, cannot be written meanwhile. SQLite admits one
    writer in any case.
    """
    lock_patient(session, patient.id)
    studies = select(Encounter.id).where(Encounter.patient_pk == patient.id)
    session.execute(studies.with_for_update())
    session.execute(select(Photograph.id).where(Photograph.encounter_pk.in_(studies)).with_for_update())


def reopen(session: Session, patient: Patient) -> int:
    """Let every study of the patient be scored and reported anew; return how many can be.

    The caller commits. What is scored under the node's setup already is not scored again, and a report that
    shows all there is stays the newest. The results that are there stay, and their successors name them.
    Photographs that retention has taken away stay covered: there is nothing left to score.
    """
    studies = list(session.scalars(select(Encounter.id).where(Encounter.patient_pk == patient.id)))
    session.execute(
        update(Photograph)
        .where(Photograph.encounter_pk.in_(studies), Photograph.purged_at.is_(None))
        .values(report_pk=None)
    )
    session.execute(
        update(Encounter).where(Encounter.id.in_(studies)).values(reopened=Encounter.reopened + 1)
    )
    return len(studies) - _purged_studies(session, patient)


def _purged_studies(session: Session, patient: Patient) -> int:
    """Return of how many studies retention has taken every photograph away."""
    kept = exists().where(Photograph.encounter_pk == Encounter.id, Photograph.purged_at.is_(None))
    query = select(func.count()).select_from(Encounter).where(Encounter.patient_pk == patient.id, ~kept)
    return session.scalar(query) or 0


def merge(session: Session, source: Patient, into: Patient, *, at: datetime, actor: str) -> int:
    """Give `into` every study of `source`, which is then gone; return how many. The caller commits.

    The studies are reported anew, under their new patient. Where retention has taken one of them away, whose
    scores stay, those that `into` has already are opened, too: no report but theirs can tell of it.

    Raises:
        ValueError: both are the same patient.

    """
    if source.id == into.id:
        raise ValueError("a patient cannot be merged with itself")
    # Whoever records a report locks its patient first, too.
    for key in sorted((source.id, into.id)):
        lock_patient(session, key)
    reopen(session, source)
    if _purged_studies(session, source):
        reopen(session, into)
    studies = list(session.scalars(select(Encounter.id).where(Encounter.patient_pk == source.id)))
    session.execute(update(Encounter).where(Encounter.id.in_(studies)).values(patient_pk=into.id))
    add_audit_event(
        session,
        Event.PATIENT_MERGED,
        at=at,
        actor=actor,
        patient_id=into.patient_id,
        issuer=into.issuer_of_patient_id,
        detail={
            "merged_patient_id": source.patient_id,
            "merged_issuer": source.issuer_of_patient_id,
            "studies": len(studies),
        },
    )
    session.execute(delete(Patient).where(Patient.id == source.id))
    return len(studies)


def holdings(session: Session, patient: Patient) -> Holdings:
    """Return what there is of the patient."""
    encounters = session.execute(
        select(Encounter.id, Encounter.study_instance_uid).where(Encounter.patient_pk == patient.id)
    ).all()
    keys = [row[0] for row in encounters]
    photographs = session.scalars(select(Photograph).where(Photograph.encounter_pk.in_(keys))).all()
    objects = session.scalars(select(Artefact.path).where(Artefact.encounter_pk.in_(keys))).all()
    pictures = session.scalars(
        select(Scoring.pictures_path).where(
            Scoring.photograph_pk.in_([photograph.id for photograph in photographs]),
            Scoring.pictures_path.is_not(None),
        )
    ).all()
    sent = tuple(photograph.path for photograph in photographs)
    paths = (*sent, *objects, *(p for p in pictures if p))
    return Holdings(tuple(row[1] for row in encounters), len(sent), len(objects), paths, sent)


def erase_rows(session: Session, patient: Patient, held: Holdings, *, at: datetime, actor: str) -> None:
    """Remove every row of the patient but those of the audit, which gets one more. The caller commits."""
    keys = list(session.scalars(select(Encounter.id).where(Encounter.patient_pk == patient.id)))
    objects = list(session.scalars(select(Artefact.id).where(Artefact.encounter_pk.in_(keys))))
    photographs = list(session.scalars(select(Photograph.id).where(Photograph.encounter_pk.in_(keys))))
    session.execute(update(Photograph).where(Photograph.id.in_(photographs)).values(report_pk=None))
    session.execute(update(Artefact).where(Artefact.id.in_(objects)).values(predecessor_pk=None))
    _delete_deliveries(session, objects)
    session.execute(delete(Artefact).where(Artefact.id.in_(objects)))
    session.execute(delete(Scoring).where(Scoring.photograph_pk.in_(photographs)))
    session.execute(delete(Photograph).where(Photograph.id.in_(photographs)))
    session.execute(delete(Encounter).where(Encounter.id.in_(keys)))
    session.execute(delete(Patient).where(Patient.id == patient.id))
    add_audit_event(
        session,
        Event.PATIENT_ERASED,
        at=at,
        actor=actor,
        patient_id=patient.patient_id,
        issuer=patient.issuer_of_patient_id,
        detail={"photographs": held.photographs, "objects": held.objects, "studies": len(held.studies)},
    )


def _delete_deliveries(session: Session, objects: Sequence[int]) -> None:
    session.execute(delete(Delivery).where(Delivery.artefact_pk.in_(objects)))
