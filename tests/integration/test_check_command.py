"""`facenorm check`: every disagreement of files and rows is found, and mended as far as it can be."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydicom.uid import VLPhotographicImageStorage
from pynetdicom.dsutils import encode, encode_file_meta
from sqlalchemy import select
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from dicom_node.cli import app
from dicom_node.data_folder import FolderLock
from reports.equipment import add_equipment
from storage.deliveries import dead, mark_dead, waiting
from storage.instances import InstanceStore
from storage.tables import Artefact, AuditEvent, Encounter, Photograph, Scoring
from tests.receiving import RunningReceiver, changed, photograph, running_receiver, send
from tests.unit.rows import NOON, add_object, write_beside


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[RunningReceiver]:
    with running_receiver(tmp_path / "data") as running:
        yield running


def _check(receiver: RunningReceiver, *options: str) -> Result:
    config = receiver.folder.parent / "facenorm.toml"
    config.write_text(f'[data]\nfolder = "{receiver.folder}"\n')
    return CliRunner().invoke(app, ["check", *options, "--config", str(config)])


def _agrees(receiver: RunningReceiver) -> bool:
    result = _check(receiver)
    return result.exit_code == 0 and "Files and database agree." in result.output


class _BusyStore(InstanceStore):
    """A store beside which something happens whenever a file is read, and once the files are listed."""

    def __init__(
        self,
        folder: Path,
        *,
        at_reading: Callable[[], object] = lambda: None,
        after_listing: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(folder)
        self._at_reading, self._after_listing = at_reading, after_listing

    def read(self, path: str) -> bytes:
        self._at_reading()
        return super().read(path)

    def files(self, kind: str) -> Iterator[str]:
        yield from super().files(kind)
        self._after_listing()


@pytest.fixture
def busy(receiver: RunningReceiver, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the command work on a `_BusyStore`."""

    def use(**happenings: Callable[[], object]) -> None:
        store = _BusyStore(receiver.folder, **happenings)
        monkeypatch.setattr("dicom_node.commands.check.open_store", lambda _: store)

    return use


def test_a_healthy_folder_is_said_to_be_so(receiver: RunningReceiver) -> None:
    assert send(receiver, photograph()) == [0x0000]
    assert _agrees(receiver)


def test_a_photograph_that_was_never_recorded_is_taken_in(receiver: RunningReceiver) -> None:
    assert send(receiver, photograph()) == [0x0000]
    (row,) = receiver.rows(Photograph)
    with Session(receiver.engine) as session, session.begin():
        session.delete(session.get_one(Photograph, row.id))
    found = _check(receiver)
    assert (found.exit_code, "file without a row: 1" in found.output) == (1, True)
    assert _check(receiver, "--repair").exit_code == 0
    (again,) = receiver.rows(Photograph)
    assert (again.path, again.sha256, again.transfer_syntax_uid) == (
        row.path, row.sha256, row.transfer_syntax_uid,
    )  # fmt: skip
    audited = receiver.rows(AuditEvent)[-1]
    assert (audited.event, audited.outcome) == ("repaired", "success")
    assert _agrees(receiver)


def test_a_study_that_was_never_recorded_is_taken_in_as_if_it_came_over_the_network(
    receiver: RunningReceiver,
) -> None:
    assert send(receiver, photograph(StudyTime="101112", AdmissionID="TEST-ADM-1")) == [0x0000]
    (as_received,) = receiver.rows(Encounter)
    assert (as_received.study_time, as_received.admission_id) == ("101112", "TEST-ADM-1")
    with Session(receiver.engine) as session, session.begin():
        for table in (Photograph, Encounter):
            session.delete(session.scalars(select(table)).one())
    assert _check(receiver, "--repair").exit_code == 0
    (taken_in,) = receiver.rows(Encounter)
    columns = {column.name for column in Encounter.__table__.columns} - {"id", "last_received_at"}
    assert {name: getattr(taken_in, name) for name in columns} == {
        name: getattr(as_received, name) for name in columns
    }


def test_a_file_that_came_again_while_retention_took_it_away_is_left_to_retention(
    receiver: RunningReceiver,
) -> None:
    assert send(receiver, photograph()) == [0x0000]
    (row,) = receiver.rows(Photograph)
    with Session(receiver.engine) as session, session.begin():
        session.get_one(Photograph, row.id).purged_at = NOON
    found = _check(receiver)
    assert (found.exit_code, "file without a row: 1" in found.output) == (1, True)
    assert "for retention to take it away" in _check(receiver, "--repair").output
    (again,) = receiver.rows(Photograph)
    assert (again.id, again.purged_at) == (row.id, None)
    assert _agrees(receiver)


@pytest.mark.parametrize("what", ["a result of our own", "another instance than it says", "another class"])
def test_a_file_that_the_receiver_would_not_keep_is_not_taken_in(
    receiver: RunningReceiver, what: str
) -> None:
    stray = photograph()
    if what == "a result of our own":
        add_equipment(stray)
    elif what == "another class":
        stray.file_meta.MediaStorageSOPClassUID = VLPhotographicImageStorage
    else:
        stray.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta, dataset = encode_file_meta(stray.file_meta), encode(stray, False, True)
    assert dataset is not None
    content = b"\0" * 128 + b"DICM" + meta + dataset
    InstanceStore(receiver.folder).write("photograph", str(stray.SOPInstanceUID), content)
    assert _check(receiver, "--repair").exit_code == 0
    assert receiver.rows(Photograph) == []
    assert [path.read_bytes() for path in receiver.files("quarantine")] == [content]
    assert _agrees(receiver)


def test_a_file_that_contradicts_what_is_recorded_goes_to_quarantine(receiver: RunningReceiver) -> None:
    store = InstanceStore(receiver.folder)
    stray = store.write("photograph", "1.2.3", b"no DICOM at all")
    assert _check(receiver, "--repair").exit_code == 0
    assert not (receiver.folder / stray.path).exists()
    assert [path.read_bytes() for path in receiver.files("quarantine")] == [b"no DICOM at all"]
    assert _agrees(receiver)


def test_a_result_that_was_never_recorded_is_removed(receiver: RunningReceiver) -> None:
    stray = InstanceStore(receiver.folder).write("structured_report", "1.2.3", b"x")
    assert _check(receiver, "--repair").exit_code == 0
    assert not (receiver.folder / stray.path).exists()


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_photograph_whose_file_is_lost_is_forgotten_until_it_is_sent_again(
    receiver: RunningReceiver, damage: str
) -> None:
    source = photograph()
    assert send(receiver, source) == [0x0000]
    (file,) = receiver.files("photograph")
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:100])
    assert _check(receiver).exit_code == 1
    assert _check(receiver, "--repair").exit_code == 0
    assert receiver.rows(Photograph) == []
    assert _agrees(receiver)
    assert send(receiver, source) == [0x0000]
    assert _agrees(receiver)


def test_a_result_whose_file_is_lost_is_not_sent_and_said_to_be_so(receiver: RunningReceiver) -> None:
    with Session(receiver.engine) as session, session.begin():
        artefact = add_object(session, "1.2.3", ["PACS"], path="normalized_photograph/00/gone.dcm")
        session.get_one(Photograph, 1).purged_at = NOON
        assert artefact.id
    assert _check(receiver, "--repair").exit_code == 1
    with Session(receiver.engine) as session:
        assert [delivery.error for delivery in dead(session)] == ["unreadable_file"]
    (audited,) = receiver.rows(AuditEvent)
    assert (audited.event, audited.outcome, audited.detail["EventOutcomeIndicator"]) == (
        "repaired",
        "incomplete",
        4,
    )


def test_a_delivery_that_was_given_up_is_due_again(receiver: RunningReceiver) -> None:
    stored = InstanceStore(receiver.folder).write("normalized_photograph", "1.2.3", b"content")
    with Session(receiver.engine) as session, session.begin():
        artefact = add_object(session, "1.2.3", ["PACS"], path=stored.path)
        session.get_one(Artefact, artefact.id).sha256 = stored.sha256
        session.get_one(Photograph, 1).purged_at = NOON
        session.flush()
        mark_dead(session, waiting(session)[0].id, error="status_A900")
    assert "delivery that was given up: 1" in _check(receiver).output
    assert _check(receiver, "--repair").exit_code == 0
    with Session(receiver.engine) as session:
        assert len(waiting(session)) == 1
    assert _agrees(receiver)


def test_a_score_without_its_picture_is_named_and_left(receiver: RunningReceiver) -> None:
    assert send(receiver, photograph()) == [0x0000]
    with Session(receiver.engine) as session, session.begin():
        key = session.scalars(select(Photograph.id)).one()
        session.add(
            Scoring(
                photograph_pk=key,
                setup_digest="1",
                status="scored",
                generator="",
                regressor="",
                seed=0,
                result={},
                created_at=NOON,
            )
        )
    result = _check(receiver, "--repair")
    assert (result.exit_code, "score without its normalized photograph: 1" in result.output) == (1, True)


def test_nothing_is_repaired_under_a_running_node(receiver: RunningReceiver) -> None:
    lock = FolderLock(receiver.folder)
    refused = _check(receiver, "--repair")
    lock.release()
    assert refused.exit_code == 1
    assert "another node works on the data folder" in refused.output


def test_others_write_to_the_database_while_files_are_read(
    receiver: RunningReceiver, busy: Callable[..., None]
) -> None:
    assert send(receiver, photograph()) == [0x0000]
    stray = InstanceStore(receiver.folder).write("structured_report", "1.2.3", b"x")
    written: list[None] = []
    busy(at_reading=lambda: written.append(write_beside(receiver.folder)))
    assert stray.path in _check(receiver).output
    assert len(written) == 2


def test_a_photograph_that_comes_while_files_are_read_is_no_disagreement(
    receiver: RunningReceiver, busy: Callable[..., None]
) -> None:
    first = photograph()
    assert send(receiver, first) == [0x0000]
    later = changed(first, SOPInstanceUID="1.2.826.0.1.3680043.9.2.1")
    busy(at_reading=lambda: send(receiver, later))
    assert _agrees(receiver)
    assert len(receiver.rows(Photograph)) == 2


def test_a_file_whose_row_is_written_after_it_was_listed_is_no_disagreement(
    receiver: RunningReceiver, busy: Callable[..., None]
) -> None:
    assert send(receiver, photograph()) == [0x0000]
    stored = InstanceStore(receiver.folder).write("normalized_photograph", "1.2.3", b"content")

    def record() -> None:
        with Session(receiver.engine) as session, session.begin():
            if not receiver.rows(Artefact):
                add_object(session, "1.2.3", [], path=stored.path)

    busy(after_listing=record)
    assert _agrees(receiver)
    assert len(receiver.rows(Artefact)) == 1


def test_what_is_gone_once_it_was_found_is_no_disagreement(
    receiver: RunningReceiver, busy: Callable[..., None]
) -> None:
    stray = InstanceStore(receiver.folder).write("structured_report", "1.2.3", b"x")
    busy(after_listing=(receiver.folder / stray.path).unlink)
    assert _agrees(receiver)


def test_a_patient_who_is_erased_while_files_are_read_is_no_disagreement(
    receiver: RunningReceiver, busy: Callable[..., None]
) -> None:
    first = photograph()
    assert send(receiver, first, changed(first, SOPInstanceUID="1.2.826.0.1.3680043.9.2.1")) == [0, 0]
    erase = ["patient", "erase", first.PatientID, "--yes", "--config"]
    config = str(receiver.folder.parent / "facenorm.toml")
    busy(at_reading=lambda: CliRunner().invoke(app, [*erase, config]))
    assert _agrees(receiver)
    assert receiver.rows(Photograph) == []


def test_a_database_that_fails_meanwhile_is_told_and_no_more(
    receiver: RunningReceiver, busy: Callable[..., None]
) -> None:
    assert send(receiver, photograph()) == [0x0000]

    def break_it() -> None:
        with closing(sqlite3.connect(receiver.folder / "facenorm.sqlite")) as other, other:
            other.execute("ALTER TABLE delivery RENAME TO lost")

    busy(at_reading=break_it)
    result = _check(receiver)
    assert isinstance(result.exception, SystemExit)
    assert (result.exit_code, result.output) == (
        1, "the database, or the queue beside it, failed (OperationalError); nothing more was done\n",
    )  # fmt: skip
