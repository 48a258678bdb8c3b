"""Record one received photograph, or say why it must not be recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum

from sqlalchemy import BindParameter, Connection, bindparam, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from storage.audit import MINOR_FAILURE, SUCCESS, Event, add_audit_event
from storage.instances import StoredFile
from storage.shared_commits import SharedCommits
from storage.tables import Artefact, Base, Encounter, Patient, Photograph

# What two associations may both find missing, one after the other.
_UNIQUE_ROWS = (Encounter, Photograph)
# Built once: putting these together takes longer than running them.
_UID: BindParameter[str] = bindparam("uid")
_KNOWN = select(
    select(Artefact.id).where(Artefact.sop_instance_uid == _UID).scalar_subquery().label("artefact_pk"),
    select(Patient.id)
    .where(
        Patient.patient_id == bindparam("identifier"),
        Patient.issuer_of_patient_id == bindparam("issuer"),
    )
    .scalar_subquery()
    .label("patient_pk"),
    select(Photograph.sha256).where(Photograph.sop_instance_uid == _UID).scalar_subquery().label("sha256"),
)
# Not as the others: PostgreSQL would write into its own log which identifier was there already.
_NEW_PATIENT = text(
    "INSERT INTO patient (patient_id, issuer_of_patient_id) VALUES (:identifier, :issuer) "
    "ON CONFLICT DO NOTHING RETURNING id"
)
# What a photograph may leave empty that another one of its study tells.
_OF_THE_STUDY = ("study_date", "study_time", "accession_number", "admission_id")
_ENCOUNTER = (
    select(
        Encounter.id,
        Encounter.patient_pk,
        Encounter.last_received_at,
        *(getattr(Encounter, name) for name in _OF_THE_STUDY),
    )
    .where(Encounter.study_instance_uid == bindparam("study_uid"))
    .with_for_update()
)
_BEGUN_ANEW = (
    update(Encounter)
    .where(Encounter.id == bindparam("encounter_pk"))
    .values(last_received_at=bindparam("now"))
)
_BROUGHT_BACK = update(Photograph).where(Photograph.sop_instance_uid == _UID).values(purged_at=None)


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
            return commits.run(lambda connection: _record(connection, received, stored))
        except IntegrityError:
            # On PostgreSQL another association inserted the same row between our look and our insert.
            continue
    return commits.run(lambda connection: _record(connection, received, stored))


def record_event(commits: SharedCommits, event: Event, received: Received, outcome: str) -> None:
    """Write an audit row about an object that was not recorded as a photograph.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database failed.

    """
    commits.run(lambda connection: _audit(connection, event, received, outcome))


def _record(connection: Connection, received: Received, stored: StoredFile) -> Outcome:
    uid = {"uid": received.sop_instance_uid}
    patient = {"identifier": received.patient_id, "issuer": received.issuer_of_patient_id}
    known = connection.execute(_KNOWN, {**uid, **patient}).one()
    if known.artefact_pk is not None:
        raise OwnResultError(f"SOP instance {received.sop_instance_uid} is one of our own results")
    if known.sha256 is None:
        patient_pk = known.patient_pk or _new_patient(connection, {**uid, **patient})
        encounter_pk = _encounter(connection, patient_pk, received)
        _insert(connection, Photograph, received, stored, encounter_pk=encounter_pk)
        outcome = Outcome.STORED
    elif known.sha256 == stored.sha256:
        # Retention may have taken the file away; now it is there again.
        if not connection.execute(_BROUGHT_BACK, uid).rowcount:
            return _record(connection, received, stored)  # erased since we looked: PostgreSQL waited for that
        outcome = Outcome.ALREADY_STORED
    else:
        raise OtherContentError(
            f"SOP instance {received.sop_instance_uid} is stored already with other content"
        )
    _audit(connection, Event.RECEIVED, received, outcome)
    return outcome


def _new_patient(connection: Connection, identified: Mapping[str, str]) -> int:
    """Return the key of the patient, whom another association may have inserted since we looked."""
    while True:
        key = (
            connection.scalar(_NEW_PATIENT, identified)
            or connection.execute(_KNOWN, identified).one().patient_pk
        )
        if key is not None:  # else erased in between
            return int(key)


def _encounter(connection: Connection, patient_pk: int, received: Received) -> int:
    """Return the key of the encounter, new or known; its quiet period begins anew."""
    encounter = connection.execute(_ENCOUNTER, {"study_uid": received.study_instance_uid}).one_or_none()
    if encounter is None:
        now = received.received_at
        return _insert(connection, Encounter, received, patient_pk=patient_pk, last_received_at=now)
    if encounter.patient_pk != patient_pk:
        raise OtherPatientError(f"study {received.study_instance_uid} is known under another patient")
    # Two associations may commit in another order than they received in.
    if received.received_at > encounter.last_received_at:
        connection.execute(_BEGUN_ANEW, {"encounter_pk": encounter.id, "now": received.received_at})
    told = {name: getattr(received, name) for name in _OF_THE_STUDY if not getattr(encounter, name)}
    if (encounter.study_date or received.study_date) != received.study_date:
        told.pop("study_time", None)  # of another day
    if any(told.values()):
        connection.execute(update(Encounter).where(Encounter.id == encounter.id).values(told))
    return int(encounter.id)


def _insert(
    connection: Connection, table: type[Base], *known: Received | StoredFile, **further: object
) -> int:
    """Insert a row and return its key: a column gets the value of its name, from any of what is known."""
    values = {**further, **{f.name: getattr(one, f.name) for one in known for f in fields(one)}}
    names = [column.name for column in table.__table__.columns]
    row = {name: values[name] for name in names if name in values}
    key = connection.execute(insert(table), row).inserted_primary_key
    assert key is not None
    return int(key[0])


def _audit(connection: Connection, event: Event, received: Received, outcome: str) -> None:
    add_audit_event(
        connection,
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
