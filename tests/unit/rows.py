"""Rows for tests, written the way the product writes them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from storage.artefacts import NORMALIZED_PHOTOGRAPH, FinishedObject, add_artefact
from storage.database import connect, migrate, sessions
from storage.tables import Artefact, Encounter, Patient, Photograph

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def database(folder: Path) -> sessionmaker[Session]:
    """Return sessions on a fresh, migrated database in `folder`."""
    engine = connect(f"sqlite:///{folder / 'facenorm.sqlite'}")
    migrate(engine)
    return sessions(engine)


def write_beside(folder: Path) -> None:
    """Write to the database in `folder` as another process does that will not wait.

    Raises sqlite3.OperationalError where somebody keeps it from writing.
    """
    with closing(sqlite3.connect(folder / "facenorm.sqlite", timeout=0.2)) as other, other:
        other.execute("UPDATE patient SET patient_id = patient_id")


def add_photograph(session: Session, uid: str, *, study: str = "1.2.3", at: datetime = NOON) -> Photograph:
    """Add a photograph as if it had just been received, with its patient and study where they are new."""
    encounter = session.scalar(select(Encounter).where(Encounter.study_instance_uid == study))
    if encounter is None:
        patient = session.scalar(select(Patient)) or Patient(patient_id="TEST-1", issuer_of_patient_id="")
        session.add(patient)
        session.flush()
        encounter = Encounter(patient_pk=patient.id, study_instance_uid=study, last_received_at=at)
        session.add(encounter)
    encounter.last_received_at = at
    session.flush()
    photograph = Photograph(
        encounter_pk=encounter.id,
        sop_instance_uid=uid,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
        series_instance_uid=f"{study}.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sha256="0" * 64,
        size_bytes=1,
        path=f"photographs/{uid}.dcm",
        calling_ae_title="TEST",
        received_at=at,
    )
    session.add(photograph)
    session.flush()
    return photograph


def add_object(session: Session, uid: str, destinations: list[str], *, path: str | None = None) -> Artefact:
    """Add a normalized photograph of a study of its own, with its deliveries."""
    photograph = add_photograph(session, f"{uid}.1", study=f"{uid}.2")
    return add_artefact(
        session,
        FinishedObject(
            kind=NORMALIZED_PHOTOGRAPH,
            sop_instance_uid=uid,
            sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
            series_instance_uid=f"{uid}.3",
            sha256="0" * 64,
            path=path or f"results/{uid}.dcm",
        ),
        encounter_pk=photograph.encounter_pk,
        scorings=[],
        destinations=destinations,
        created_at=NOON,
    )
