"""Record one received photograph, or say why it must not be recorded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from storage.audit import MINOR_FAILURE, SUCCESS, Event, add_audit_event
from storage.instances import StoredFile
from storage.shared_commits import SharedCommits
from storage.tables import Artefact, Encounter, Patient, Photograph

# What two associations may both find missing, one after the other.
_UNIQUE_ROWS = (Patient, Encounter, Photograph)


@dataclass(frozen=True, slots=True)
class Received:
    """What identifies a received photograph, and who sent it. Absent values are ''."""

    patient_id: str
    issuer_of_patient_id: str
    study_instance_uid: str
    study_date: str
    accession_number: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str
    peer_address: str
    received_at: datetime
    study_time: str = ""
    admission_id: str = ""


class Outcome(StrEnum):
    """How `record_photograph` ended: a new photograph, or one that was there already."""

    STORED = "stored"
    ALREADY_STORED = "already_stored"


class IntakeRefusedError(Exception):
    """A photograph that contradicts what is stored. The text holds UIDs only; `outcome` goes to the audit."""

    outcome = "refused"


class OtherContentError(IntakeRefusedError):
    """Another object has this SOP Instance UID already; a UID never names two objects (PS3.5 section 9)."""

    outcome = "refused_other_content"


class OtherPatientError(IntakeRefusedError):
    """The study is known under another patient; joining them would mix two patients."""

    outcome = "refused_other_patient"


class OwnResultError(IntakeRefusedError):
    """We made the object with this SOP Instance UID; it came back."""

    outcome = "ignored"


def record_photograph(commits: SharedCommits, received: Received, stored: StoredFile) -> Outcome:
    """Record `received`, whose bytes are durable as `stored`, and return once the row is committed.

    The same instance with the same bytes again changes nothing but the audit. The encounter's
    quiet period starts anew only for a photograph that is new.

    Raises:
        OwnResultError: it is an object of ours.
        OtherContentError: the SOP Instance UID is taken by other bytes.
        OtherPatientError: the study is known under another patient.
        sqlalchemy.exc.SQLAlchemyError: the database failed; whether it committed is unknown.

    """
    for _ in _UNIQUE_ROWS:
        try:
            return commits.run(lambda session: _record(session, received, stored))
        except IntegrityError:
            # On PostgreSQL another association inserted the same row between our look and our insert.
            continue
    return commits.run(lambda session: _record(session, received, stored))


def record_event(commits: SharedCommits, event: Event, received: Received, outcome: str) -> None:
    """Write an audit row about an object that was not recorded as a photograph.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database failed.

    """
    commits.run(lambda session: _audit(session, event, received, outcome))


def _record(session: Session, received: Received, stored: StoredFile) -> Outcome:
    _refuse_own_result(session, received)
    patient = _patient(session, received)
    outcome = _known(session, received, stored)
    if outcome is None:
        encounter = _encounter(session, patient, received)
        session.add(
            Photograph(
                encounter_pk=encounter.id,
                sop_instance_uid=received.sop_instance_uid,
                sop_class_uid=received.sop_class_uid,
                series_instance_uid=received.series_instance_uid,
                transfer_syntax_uid=received.transfer_syntax_uid,
                sha256=stored.sha256,
                size_bytes=stored.size_bytes,
                path=stored.path,
                calling_ae_title=received.calling_ae_title,
                received_at=received.received_at,
            )
        )
        outcome = Outcome.STORED
    _audit(session, Event.RECEIVED, received, outcome)
    return outcome


def _refuse_own_result(session: Session, received: Received) -> None:
    found = select(Artefact.id).where(Artefact.sop_instance_uid == received.sop_instance_uid)
    if session.scalar(found) is not None:
        raise OwnResultError(f"SOP instance {received.sop_instance_uid} is one of our own results")


def _known(session: Session, received: Received, stored: StoredFile) -> Outcome | None:
    known = session.scalar(select(Photograph).where(Photograph.sop_instance_uid == received.sop_instance_uid))
    if known is None:
        return None
    if known.sha256 != stored.sha256:
        raise OtherContentError(
            f"SOP instance {received.sop_instance_uid} is stored already with other content"
        )
    # Retention may have taken the file away; now it is there again.
    known.purged_at = None
    return Outcome.ALREADY_STORED


def _patient(session: Session, received: Received) -> Patient:
    patient = session.scalar(
        select(Patient).where(
            Patient.patient_id == received.patient_id,
            Patient.issuer_of_patient_id == received.issuer_of_patient_id,
        )
    )
    if patient is None:
        patient = Patient(patient_id=received.patient_id, issuer_of_patient_id=received.issuer_of_patient_id)
        session.add(patient)
        session.flush()
    return patient


def _encounter(session: Session, patient: Patient, received: Received) -> Encounter:
    encounter = session.scalar(
        select(Encounter).where(Encounter.study_instance_uid == received.study_instance_uid).with_for_update()
    )
    if encounter is None:
        encounter = Encounter(
            patient_pk=patient.id,
            study_instance_uid=received.study_instance_uid,
            study_date=received.study_date,
            study_time=received.study_time,
            accession_number=received.accession_number,
            admission_id=received.admission_id,
            last_received_at=received.received_at,
        )
        session.add(encounter)
        session.flush()
    elif encounter.patient_pk != patient.id:
        raise OtherPatientError(f"study {received.study_instance_uid} is known under another patient")
    # Two associations may commit in another order than they received in.
    encounter.last_received_at = max(encounter.last_received_at, received.received_at)
    return encounter


def _audit(session: Session, event: Event, received: Received, outcome: str) -> None:
    add_audit_event(
        session,
        event,
        at=received.received_at,
        actor=received.calling_ae_title,
        outcome=outcome,
        indicator=MINOR_FAILURE if event in (Event.REFUSED, Event.QUARANTINED) else SUCCESS,
        patient_id=received.patient_id,
        issuer=received.issuer_of_patient_id,
        study_instance_uid=received.study_instance_uid,
        detail={
            "SOPInstanceUID": received.sop_instance_uid,
            "NetworkAccessPointID": received.peer_address,
        },
    )
