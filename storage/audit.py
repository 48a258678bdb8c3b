"""The audit trail: who did what to whose data. Append-only, and apart from the logs, which hold no patients.

Rows follow PS3.15 A.5: `event` and `detail` hold its EventID, EventActionCode and type, `outcome` its
EventOutcomeIndicator, `actor` its ActiveParticipant, the identifiers its ParticipantObjects. The database
refuses to change or delete a row, and nothing but `facenorm` commands of the node's own user reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

from sqlalchemy import Connection, insert, select
from sqlalchemy.orm import Session

from storage.tables import Artefact, AuditEvent, Delivery, Encounter, Patient, Photograph

# The actor of what the node does by itself.
NODE = "facenorm"


class Event(Enum):
    """What happened: our word, the EventID (DCM, CID 400), the EventActionCode (C, R, U, D or E)."""

    RECEIVED = ("received", "110104", "C")
    REFUSED = ("refused", "110104", "C")
    QUARANTINED = ("quarantined", "110104", "C")
    OWN_RESULT_IGNORED = ("own_result_ignored", "110104", "C")
    SCORED = ("scored", "110103", "C")
    DELIVERED = ("delivered", "110104", "R")
    PURGED = ("purged", "110105", "D")
    EXPORTED = ("exported", "110106", "R")
    IMPORTED = ("imported", "110107", "C")
    RESCORED = ("rescored", "110111", "U")
    PATIENT_MERGED = ("patient_merged", "110110", "U")
    PATIENT_ERASED = ("patient_erased", "110110", "D")
    REPAIRED = ("repaired", "110103", "U")
    PATIENTS_SHOWN = ("patients_shown", "110112", "R")

    @property
    def word(self) -> str:
        """What stands in the table."""
        return self.value[0]

    @property
    def event_id(self) -> str:
        """The EventID."""
        return self.value[1]

    @property
    def action(self) -> str:
        """The EventActionCode."""
        return self.value[2]


# EventOutcomeIndicator (PS3.15 A.5.2).
SUCCESS = 0
MINOR_FAILURE = 4
SERIOUS_FAILURE = 8


def add_audit_event(
    database: Session | Connection,
    event: Event,
    *,
    at: datetime,
    actor: str,
    outcome: str = "success",
    indicator: int = SUCCESS,
    patient_id: str = "",
    issuer: str = "",
    study_instance_uid: str = "",
    detail: Mapping[str, str | int] | None = None,
) -> None:
    """Append one row; the caller commits, together with what the row tells of.

    actor: the AE title of a peer, `NODE`, or who ran a command. outcome: one word; indicator: 0, 4, 8 or 12.
    detail: further plain values, such as `SOPInstanceUID` or `NetworkAccessPointID`.
    """
    row = {
        "at": at,
        "event": event.word,
        "outcome": outcome,
        "actor": actor[:64],
        "patient_id": patient_id,
        "issuer": issuer,
        "study_instance_uid": study_instance_uid,
        "detail": {
            "EventID": event.event_id,
            "EventActionCode": event.action,
            "EventOutcomeIndicator": indicator,
            **(detail or {}),
        },
    }
    database.execute(insert(AuditEvent), row)


def audit_photograph(
    session: Session, event: Event, photograph: Photograph, *, at: datetime, actor: str = NODE, outcome: str
) -> None:
    """Append what happened to a photograph, with its study and patient; the caller commits."""
    patient, study = _of_encounter(session, photograph.encounter_pk)
    add_audit_event(
        session,
        event,
        at=at,
        actor=actor,
        outcome=outcome,
        patient_id=patient.patient_id,
        issuer=patient.issuer_of_patient_id,
        study_instance_uid=study,
        detail={"SOPInstanceUID": photograph.sop_instance_uid},
    )


def audit_artefact(
    session: Session, event: Event, artefact: Artefact, *, at: datetime, detail: Mapping[str, str | int]
) -> None:
    """Append what the node did with a result of its own, with its study and patient; the caller commits."""
    patient, study = _of_encounter(session, artefact.encounter_pk)
    add_audit_event(
        session,
        event,
        at=at,
        actor=NODE,
        patient_id=patient.patient_id,
        issuer=patient.issuer_of_patient_id,
        study_instance_uid=study,
        detail={"SOPInstanceUID": artefact.sop_instance_uid, **detail},
    )


def audit_delivery(session: Session, delivery_id: int, *, at: datetime) -> None:
    """Append that a delivery reached its destination; the caller commits."""
    delivery = session.get_one(Delivery, delivery_id)
    artefact = session.get_one(Artefact, delivery.artefact_pk)
    detail = {"destination": delivery.destination}
    audit_artefact(session, Event.DELIVERED, artefact, at=at, detail=detail)


def _of_encounter(session: Session, encounter_pk: int) -> tuple[Patient, str]:
    row = session.execute(
        select(Patient, Encounter.study_instance_uid)
        .join(Encounter, Encounter.patient_pk == Patient.id)
        .where(Encounter.id == encounter_pk)
    ).one()
    return row[0], row[1]
