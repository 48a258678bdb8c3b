"""A photograph comes again while its patient is erased: what is answered with Success is on the disk."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from sqlalchemy import select, text
from typer.testing import CliRunner

from dicom_node.cli import app
from storage.instances import InstanceStore, StoredFile
from storage.intake import Outcome
from storage.patients import erase_rows, find_patient, holdings, lock_holdings
from storage.tables import Photograph
from tests.integration.running_node import wait_until
from tests.overtaking import Once
from tests.receiving import RunningReceiver, photograph, running_receiver, send
from tests.small_archive import SmallArchive
from tests.small_archive import photograph as small_photograph


def _erase(receiver: RunningReceiver) -> None:
    config = receiver.folder.parent / "facenorm.toml"
    config.write_text(f'[data]\nfolder = "{receiver.folder}"\n')
    words = ["patient", "erase", "TEST-0001", "--yes", "--config", str(config)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output


def test_a_photograph_that_is_taken_for_new_again_has_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase: list[Once] = []

    class Store(InstanceStore):
        def write(self, kind: str, sop_instance_uid: str, data: bytes) -> StoredFile:
            stored = super().write(kind, sop_instance_uid, data)
            for once in erase:
                once()
            return stored

    monkeypatch.setattr("tests.receiving.open_store", lambda settings: Store(settings.data.folder))
    sent = photograph()
    with running_receiver(tmp_path / "data") as receiver:
        assert send(receiver, sent) == [0x0000]
        erase.append(Once(lambda: _erase(receiver)))
        assert send(receiver, sent) == [0x0000]
        assert erase[0].called
        (row,) = receiver.rows(Photograph)
        assert [str(path.relative_to(receiver.folder)) for path in receiver.files("photograph")] == [row.path]


def test_nothing_stays_of_a_photograph_that_came_again_when_its_file_had_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again: list[Once] = []

    class Store(InstanceStore):
        def delete(self, path: str) -> None:
            super().delete(path)
            for once in again:
                once()

    monkeypatch.setattr(
        "dicom_node.commands.patient.open_store", lambda settings: Store(settings.data.folder)
    )
    sent, statuses = photograph(), list[int]()
    with running_receiver(tmp_path / "data") as receiver:
        assert send(receiver, sent) == [0x0000]
        again.append(Once(lambda: statuses.extend(send(receiver, sent))))
        _erase(receiver)
        assert statuses == [0x0000]
        assert receiver.rows(Photograph) == []
        assert receiver.files("photograph") == []


def test_a_photograph_that_is_erased_while_its_receiver_waits_is_recorded_anew(
    tmp_path: Path, postgresql
) -> None:
    archive = SmallArchive(tmp_path, database_url=postgresql.database())
    archive.receive(small_photograph(1))
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    # Every look at what waits is a transaction of its own: the server shows no news within one.
    looking = archive.engine.execution_options(isolation_level="AUTOCOMMIT")
    with archive.sessions() as session, ThreadPoolExecutor(1) as other, looking.connect() as server:
        patient = find_patient(session, "TEST-1")
        lock_holdings(session, patient)
        erase_rows(session, patient, holdings(session, patient), at=archive.now, actor="operator")
        again = other.submit(archive.receive, small_photograph(1))
        wait_until(lambda: server.scalar(waiting), 20, "the receiver to wait")
        session.commit()
        assert again.result(20) is Outcome.STORED
    with archive.sessions() as session:
        uids = session.scalars(select(Photograph.sop_instance_uid)).all()
    assert uids == [small_photograph(1).SOPInstanceUID]
    archive.engine.dispose()


def test_a_refused_photograph_takes_no_file_of_one_that_is_accepted_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overtaken: list[Once] = []

    class Store(InstanceStore):
        def delete(self, path: str) -> None:
            for once in overtaken:
                once()
            super().delete(path)

    monkeypatch.setattr("tests.receiving.open_store", lambda settings: Store(settings.data.folder))
    first = photograph()
    corrected = photograph(StudyInstanceUID=first.StudyInstanceUID, PatientID="TEST-0002")
    with running_receiver(tmp_path / "data") as receiver, ThreadPoolExecutor(1) as other:
        sent: list[Future[list[int]]] = []

        def erase_and_send_again() -> None:
            _erase(receiver)
            sent.append(other.submit(send, receiver, corrected))
            wait(sent, timeout=2)

        assert send(receiver, first) == [0x0000]
        overtaken.append(Once(erase_and_send_again))
        assert send(receiver, corrected) == [0xC002]
        assert sent[0].result(20) == [0x0000]
        (row,) = receiver.rows(Photograph)
        assert [str(path.relative_to(receiver.folder)) for path in receiver.files("photograph")] == [row.path]
