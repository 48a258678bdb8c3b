"""A patient is erased while the node works on their photographs: nothing that is made afterwards stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dbos import DBOS, EnqueueOptions
from sqlalchemy import delete, event, select, text, update
from sqlalchemy.exc import IntegrityError
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.kept_pictures import KIND as PICTURES
from dicom_node.queue_place import queue_place
from dicom_node.settings import load_settings
from dicom_node.stored_queue import QUEUE, WORKFLOW, queue_client, system_database_url, workflow_states
from reports.options import ReportOptions
from storage.artefacts import (
    COMPARISON,
    NORMALIZED_IN_PLACE,
    NORMALIZED_PHOTOGRAPH,
    PATIENT_PDF,
    STRUCTURED_REPORT,
    TREND,
    FinishedObject,
    add_artefact,
    cover_photographs,
)
from storage.database import open_database, sessions
from storage.deliveries import UNCOMMITTED, mark_delivered
from storage.delivery_commitments import take_commitment
from storage.instances import InstanceStore
from storage.patients import lock_patient
from storage.tables import Artefact, Delivery, Encounter, Patient, Photograph, Scoring
from tests.integration.running_node import wait_until
from tests.overtaking import Once, OvertakenStore
from tests.report_samples import encoded
from tests.small_archive import SmallArchive, photograph
from tests.unit.rows import NOON, add_object

SECOND = str(photograph(2).SOPInstanceUID)


@pytest.fixture
def archive(tmp_path: Path, database_url: str) -> Iterator[SmallArchive]:
    """Two studies of a patient, the first one reported."""
    archive = SmallArchive(tmp_path, database_url=database_url)
    archive.receive(photograph(1, brightness=60))
    archive.settle()
    archive.receive(photograph(2, brightness=120))
    yield archive
    archive.engine.dispose()


def _erase(archive: SmallArchive) -> None:
    result = CliRunner().invoke(app, ["patient", "erase", "TEST-1", "--yes", "--config", str(archive.config)])
    assert result.exit_code == 0, result.output
    assert "facenorm check --repair" in result.output


def _files(archive: SmallArchive) -> list[Path]:
    return list((archive.folder / "data").rglob("*.dcm"))


@pytest.mark.parametrize(
    "kind", [NORMALIZED_PHOTOGRAPH, NORMALIZED_IN_PLACE, COMPARISON, TREND, PATIENT_PDF, STRUCTURED_REPORT]
)
def test_nothing_stays_of_a_patient_who_is_erased_while_an_object_is_written(
    archive: SmallArchive, kind: str
) -> None:
    erased = Once(lambda: _erase(archive))
    store = OvertakenStore(archive.folder / "data", kind, erased)
    steps = replace(archive.steps, store=store, reporter=replace(archive.steps.reporter, store=store))

    def score_and_report() -> None:
        steps.score_photograph(SECOND)
        steps.report_study([SECOND])

    with pytest.raises((IntegrityError, LookupError, FileNotFoundError)):
        score_and_report()
    assert erased.called
    assert _files(archive) == []
    with archive.sessions() as session:
        assert session.scalars(select(Patient)).all() == []


def test_what_is_scored_of_an_erased_patient_does_not_become_the_next_patients(archive: SmallArchive) -> None:
    others = [photograph(3, number, PatientID="TEST-2") for number in (1, 2)]

    def replace_the_patient() -> None:
        _erase(archive)
        for other in others:
            archive.receive(other)

    meanwhile = Once(replace_the_patient)
    steps = replace(archive.steps, store=OvertakenStore(archive.folder / "data", PICTURES, meanwhile))
    with pytest.raises(LookupError):
        steps.score_photograph(SECOND)
    assert meanwhile.called
    with archive.sessions() as session:
        assert session.scalars(select(Scoring)).all() == []
    assert {path.read_bytes() for path in _files(archive)} == {encoded(other) for other in others}


def test_what_is_sent_of_an_erased_patient_does_not_count_for_the_next(archive: SmallArchive) -> None:
    with archive.sessions() as session:
        sent = list(session.scalars(select(Delivery.id)))
    _erase(archive)
    with archive.sessions.begin() as session:
        add_object(session, "1.2.3", ["ARCHIVE"])
        assert [key for key in sent if mark_delivered(session, key, now=NOON)] == []


def test_a_study_that_the_node_queues_while_its_patient_is_erased_is_forgotten(
    archive: SmallArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = queue_place(load_settings(archive.config))
    DBOS.migrate(system_database_url(place))
    queue = queue_client(place)
    name = f"{photograph(2).StudyInstanceUID}:0:0"
    work: EnqueueOptions = {"queue_name": QUEUE, "workflow_name": WORKFLOW, "workflow_id": name}
    sweep = Once(lambda: queue.enqueue(work, [SECOND]))

    class Store(InstanceStore):
        def delete(self, path: str) -> None:
            sweep()
            super().delete(path)

    monkeypatch.setattr("dicom_node.commands.patient.open_store", lambda _: Store(archive.folder / "data"))
    _erase(archive)
    assert sweep.called
    assert workflow_states(place) == []
    queue.destroy()


def test_an_erasure_waits_for_what_another_process_is_recording(tmp_path: Path, postgresql) -> None:
    archive = SmallArchive(tmp_path, database_url=postgresql.database())
    archive.receive(photograph(1))
    archive.settle()
    stored = archive.store.write(STRUCTURED_REPORT, "1.2.3", b"content")
    finished = FinishedObject(STRUCTURED_REPORT, "1.2.3", "1.2", "1.3", stored.sha256, stored.path)
    command = [str(Path(sys.executable).with_name("facenorm")), "patient", "erase", "TEST-1", "--yes"]
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    # Every look at what waits is a transaction of its own: the server shows no news within one.
    looking = archive.engine.execution_options(isolation_level="AUTOCOMMIT")
    with archive.sessions() as session, looking.connect() as other:
        encounter = session.scalars(select(Photograph.encounter_pk)).one()
        add_artefact(
            session, finished, encounter_pk=encounter, scorings=[], destinations=[], created_at=archive.now
        )
        with subprocess.Popen([*command, "--config", str(archive.config)], stderr=subprocess.PIPE) as erasing:
            wait_until(lambda: other.scalar(waiting), 20, "the erasure to wait")
            session.commit()
            _, said = erasing.communicate(timeout=60)
    assert (erasing.returncode, said) == (0, b"")
    assert _files(archive) == []
    with archive.sessions() as session:
        assert session.scalars(select(Artefact)).all() == []
    archive.engine.dispose()


def test_a_merge_waits_for_what_another_process_is_recording(tmp_path: Path, postgresql) -> None:
    archive = SmallArchive(
        tmp_path, database_url=postgresql.database(), options=ReportOptions(objects=frozenset())
    )
    archive.receive(photograph(1, PatientID="TEST-OLD"))
    archive.receive(photograph(2))
    archive.settle()
    (report, _) = archive.rows(STRUCTURED_REPORT)
    command = [str(Path(sys.executable).with_name("facenorm")), "patient", "merge", "TEST-OLD", "TEST-1"]
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    looking = archive.engine.execution_options(isolation_level="AUTOCOMMIT")
    with archive.sessions() as session, looking.connect() as other:
        one = session.scalars(select(Photograph).where(Photograph.report_pk == report.id)).one()
        lock_patient(session, session.get_one(Encounter, one.encounter_pk).patient_pk)
        with subprocess.Popen([*command, "--config", str(archive.config)], stderr=subprocess.PIPE) as merging:
            wait_until(lambda: other.scalar(waiting), 20, "the merge to wait")
            cover_photographs(session, report, [one])
            session.commit()
            _, said = merging.communicate(timeout=60)
        assert (merging.returncode, said) == (0, b"")
        session.refresh(one)
        assert one.report_pk is None  # it is to be reported under the patient who stays
    archive.engine.dispose()


def test_an_archive_commits_itself_to_the_rest_of_what_was_erased_meanwhile(postgresql) -> None:
    engine = open_database(postgresql.database())
    opened = sessions(engine)
    with opened.begin() as session:
        for uid in ("1.2.3", "1.2.4"):
            add_object(session, uid, ["PACS"])
        kept, erased = session.scalars(select(Delivery.id).order_by(Delivery.id))
        session.execute(update(Delivery).values(state=UNCOMMITTED, transaction_uid="1.9"))

    def erase() -> None:
        with opened.begin() as other:
            other.execute(delete(Delivery).where(Delivery.id == erased))

    once = Once(erase)

    @event.listens_for(engine, "before_cursor_execute")
    def _between(_connection, _cursor, statement: str, *_rest: object) -> None:
        if statement.startswith("UPDATE delivery"):
            once()

    with opened.begin() as session:
        named = ("1.2.3", "1.2.4")
        committed = take_commitment(session, "1.9", destination="PACS", committed=named, now=NOON)
    assert once.called
    assert [delivery.id for delivery in committed] == [kept]
    engine.dispose()
