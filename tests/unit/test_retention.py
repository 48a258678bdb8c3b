from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from shutil import rmtree
from typing import Any, cast

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.absent_workers import AbsentWorkers
from dicom_node.housekeeping import Housekeeping
from dicom_node.settings_sections import Retention
from dicom_node.shared_queue import SharedQueue
from storage.commitments import add_request
from storage.database import connect, sessions
from storage.deliveries import dead, mark_delivered, waiting
from storage.instances import InstanceStore
from storage.intake import Outcome, Received, record_photograph
from storage.patients import find_patient, reopen
from storage.shared_commits import SharedCommits
from storage.studies import quiet_studies
from storage.tables import Artefact, AuditEvent, Commitment, Photograph
from tests.overtaking import Once
from tests.unit.rows import NOON, add_object, add_photograph, database, write_beside

_AGAIN = Received(
    patient_id="TEST-1",
    issuer_of_patient_id="",
    study_instance_uid="1.2.2",
    study_date="",
    accession_number="",
    series_instance_uid="1.2.2.1",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
    sop_instance_uid="1.2.1",
    transfer_syntax_uid="1.2.840.10008.1.2.1",
    calling_ae_title="TEST",
    peer_address="127.0.0.1",
    received_at=NOON + timedelta(days=11),
)


@dataclass
class _Kept:
    """A study of one photograph that is reported, and its result: both files on the disk."""

    sessions: sessionmaker[Session]
    store: InstanceStore
    photograph: str
    result: str
    now: datetime = NOON
    retention: Retention = field(default_factory=lambda: Retention(instances_days=10, results_days=20))
    destinations: tuple[str, ...] = ("PACS",)

    def keep_house(self, days: float) -> bool:
        self.now = NOON + timedelta(days=days)
        return Housekeeping(
            sessions=self.sessions,
            store=self.store,
            clock=lambda: self.now,
            retention=lambda: self.retention,
            destinations=lambda: self.destinations,
            senders=lambda: ["TAKES"],
            minimum_free_bytes=0,
        ).turn()

    @property
    def files(self) -> tuple[bool, bool]:
        folder = self.store.folder
        return (folder / self.photograph).exists(), (folder / self.result).exists()


@pytest.fixture
def kept(tmp_path: Path) -> _Kept:
    sessions, store = database(tmp_path), InstanceStore(tmp_path / "data")
    photograph = store.write("photograph", "1.1", b"photograph").path
    result = store.write("normalized_photograph", "1.2", b"result").path
    with sessions.begin() as session:
        artefact = add_object(session, "1.2", ["PACS"], path=result)
        row = session.scalars(select(Photograph)).one()
        row.path, row.report_pk = photograph, artefact.id
    return _Kept(sessions, store, photograph, result)


def _deliver(kept: _Kept) -> None:
    with kept.sessions.begin() as session:
        for delivery in waiting(session):
            mark_delivered(session, delivery.id, now=NOON)


def test_files_go_when_their_days_are_over_and_rows_stay(kept: _Kept) -> None:
    _deliver(kept)
    kept.keep_house(9)
    assert kept.files == (True, True)
    kept.keep_house(11)
    assert kept.files == (False, True)
    kept.keep_house(21)
    assert kept.files == (False, False)
    with kept.sessions() as session:
        assert session.scalars(select(Photograph.purged_at)).one() == NOON + timedelta(days=11)
        assert session.scalars(select(Artefact.purged_at)).one() == NOON + timedelta(days=21)
        purged = session.scalars(select(AuditEvent).where(AuditEvent.event == "purged")).all()
    assert [(row.patient_id, row.study_instance_uid) for row in purged] == [("TEST-1", "1.2.2")] * 2


class _SlowStore(InstanceStore):
    """A place for files that takes its time: others write into the database meanwhile."""

    deleted = 0

    def delete(self, path: str) -> None:
        write_beside(self.folder.parent)
        super().delete(path)
        self.deleted += 1


def test_others_write_into_the_database_while_files_are_deleted(kept: _Kept) -> None:
    store = kept.store = _SlowStore(kept.store.folder)
    _deliver(kept)
    kept.keep_house(1000)
    assert kept.files == (False, False)
    assert store.deleted == 2
    with kept.sessions() as session:
        assert session.scalars(select(Photograph.purged_at)).one() == NOON + timedelta(days=1000)
        purged = session.scalars(select(AuditEvent).where(AuditEvent.event == "purged")).all()
    assert len(purged) == 2


def test_what_is_deleted_and_not_recorded_is_recorded_by_the_next_turn(kept: _Kept) -> None:
    _deliver(kept)
    for path in (kept.photograph, kept.result):
        kept.store.delete(path)
    kept.keep_house(1000)
    with kept.sessions() as session:
        assert session.scalars(select(Artefact.purged_at)).one() == NOON + timedelta(days=1000)


class _OvertakenStore(InstanceStore):
    """A place for files whose user is overtaken when a photograph has been deleted."""

    def __init__(self, folder: Path, overtake: Callable[[], object]) -> None:
        super().__init__(folder)
        self._overtake = Once(overtake)

    def delete(self, path: str) -> None:
        super().delete(path)
        self._overtake()


def test_a_photograph_that_is_to_be_scored_anew_when_its_file_has_just_gone_is_recorded_as_gone(
    kept: _Kept,
) -> None:
    def rescore() -> None:
        with kept.sessions.begin() as session:
            assert reopen(session, find_patient(session, "TEST-1")) == 1

    _deliver(kept)
    kept.store = _OvertakenStore(kept.store.folder, rescore)
    kept.keep_house(11)
    assert kept.files == (False, True)
    with kept.sessions() as session:
        assert session.scalars(select(Photograph.purged_at)).one() == kept.now
        assert (
            quiet_studies(session, now=kept.now, quiet_seconds=0) == []
        )  # it would fail for want of its file


def test_a_file_that_was_lost_together_with_its_folder_holds_up_no_other(kept: _Kept) -> None:
    _deliver(kept)
    rmtree(kept.store.folder / "photograph")  # as after a restore of a backup that had it no more
    kept.keep_house(1000)
    assert kept.files == (False, False)
    with kept.sessions() as session:
        assert session.scalars(select(Photograph.purged_at)).one() == NOON + timedelta(days=1000)


class _HeldStore(InstanceStore):
    """A place whose files cannot be deleted."""

    def delete(self, path: str) -> None:
        raise PermissionError(path)


def test_what_cannot_be_deleted_is_not_recorded_as_gone_and_holds_up_no_other_chore(kept: _Kept) -> None:
    _deliver(kept)
    with kept.sessions.begin() as session:
        add_request(session, ae_title="SILENT", transaction_uid="1.2", instances=[], now=NOON)
    kept.store = _HeldStore(kept.store.folder)
    with pytest.raises(PermissionError):
        kept.keep_house(1000)
    with kept.sessions() as session:
        assert session.scalars(select(Photograph.purged_at)).one() is None
        assert session.scalars(select(AuditEvent).where(AuditEvent.event == "purged")).all() == []
        assert session.scalars(select(Commitment.state)).one() == "dead"


def test_nothing_goes_that_is_still_to_be_delivered(kept: _Kept) -> None:
    kept.keep_house(1000)
    assert kept.files == (True, True)


def test_a_photograph_goes_only_once_it_is_reported(kept: _Kept) -> None:
    _deliver(kept)
    with kept.sessions.begin() as session:
        session.scalars(select(Photograph)).one().report_pk = None
    kept.keep_house(1000)
    assert kept.files[0]


def test_a_photograph_stays_while_a_later_one_of_its_study_waits_for_the_report_over_both(
    kept: _Kept,
) -> None:
    _deliver(kept)
    with kept.sessions.begin() as session:
        report_pk = session.scalars(select(Photograph)).one().report_pk
        later = add_photograph(session, "1.9", study="1.2.2", at=NOON + timedelta(days=11))
    kept.keep_house(12)
    assert kept.files[0]
    with kept.sessions.begin() as session:
        session.get_one(Photograph, later.id).report_pk = report_pk
    kept.keep_house(13)
    assert not kept.files[0]


def test_no_days_keep_everything(kept: _Kept) -> None:
    _deliver(kept)
    kept.retention = Retention()
    kept.keep_house(10_000)
    assert kept.files == (True, True)


def test_a_later_photograph_is_scored_without_those_that_are_gone(kept: _Kept) -> None:
    _deliver(kept)
    kept.keep_house(11)
    with kept.sessions.begin() as session:
        add_photograph(session, "1.9", study="1.2.2", at=kept.now)
        (study,) = quiet_studies(session, now=kept.now + timedelta(minutes=1), quiet_seconds=10)
    assert study.photographs == ("1.9",)


def test_what_would_wait_for_ever_is_given_up_and_seen(kept: _Kept) -> None:
    with kept.sessions.begin() as session:
        for title in ("TAKES", "SILENT"):
            add_request(session, ae_title=title, transaction_uid="1.2", instances=[], now=NOON)
    kept.destinations = ("OTHER",)
    kept.keep_house(2)
    with kept.sessions() as session:
        assert [delivery.error for delivery in dead(session)] == ["destination_not_configured"]
        states = {row.ae_title: row.state for row in session.scalars(select(Commitment))}
    assert states == {"TAKES": "due", "SILENT": "dead"}


def test_one_process_alone_keeps_house_until_its_lease_ends(kept: _Kept) -> None:
    assert kept.keep_house(0)
    assert not kept.keep_house(0)  # another process: each has a name of its own
    assert kept.keep_house(0.01)


def test_a_lease_that_was_taken_while_the_clock_was_wrong_holds_nobody_up(kept: _Kept) -> None:
    assert kept.keep_house(1000)
    assert kept.keep_house(0)  # the process was started again after the clock had been set right


def test_a_database_that_is_away_keeps_no_process_from_ending(kept: _Kept) -> None:
    away = sessions(connect("postgresql://nobody@127.0.0.1:1/none"))
    resigning: dict[str, Any] = {"sessions": away, "clock": lambda: NOON, "holder": "one"}
    queue = cast(SharedQueue, None)
    AbsentWorkers(queue=queue, turn_seconds=5, gone_seconds=30, **resigning).resign()
    Housekeeping(
        store=kept.store,
        retention=Retention,
        destinations=list,
        senders=list,
        minimum_free_bytes=0,
        **resigning,
    ).resign()


def test_a_photograph_that_comes_again_when_its_file_has_just_gone_goes_in_the_next_turn(
    kept: _Kept,
) -> None:
    def send_again() -> None:
        stored = replace(kept.store.write("photograph", "1.1", b"photograph"), sha256="0" * 64)
        assert record_photograph(SharedCommits(kept.sessions), _AGAIN, stored) is Outcome.ALREADY_STORED

    _deliver(kept)
    kept.store = _OvertakenStore(kept.store.folder, send_again)
    kept.keep_house(11)
    with kept.sessions() as session:
        assert session.scalars(select(Photograph.purged_at)).one() is None
    assert kept.files == (True, True)
    kept.keep_house(12)
    with kept.sessions() as session:
        assert session.scalars(select(Photograph.purged_at)).one() == kept.now
    assert kept.files == (False, True)
