"""The rows that a receiver leaves, for benches that add studies without sending them."""

from __future__ import annotations

from datetime import datetime

from pydicom.uid import JPEGBaseline8Bit, VLPhotographicImageStorage, generate_uid
from sqlalchemy.orm import Session

from storage.instances import StoredFile
from storage.tables import Encounter, Patient, Photograph


def add_encounter(
    session: Session, *, patient_id: str, study: str, at: datetime, study_date: str = ""
) -> Encounter:
    """Add a new patient's study (its UID), received `at`, and return it with its key; the caller commits."""
    patient = Patient(patient_id=patient_id)
    session.add(patient)
    session.flush()
    encounter = Encounter(
        patient_pk=patient.id, study_instance_uid=study, study_date=study_date, last_received_at=at
    )
    session.add(encounter)
    session.flush()
    return encounter


def received_photograph(
    encounter: Encounter, uid: str, file: StoredFile, at: datetime, *, sender: str = "BENCH"
) -> Photograph:
    """Return the row of a JPEG photograph of a study. sender: the AE title that it came from."""
    return Photograph(
        encounter_pk=encounter.id,
        sop_instance_uid=uid,
        sop_class_uid=VLPhotographicImageStorage,
        series_instance_uid=generate_uid(),
        transfer_syntax_uid=JPEGBaseline8Bit,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        path=file.path,
        calling_ae_title=sender,
        received_at=at,
    )
