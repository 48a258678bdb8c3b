"""Priors that cannot be had: why is told, nobody else waits for them, and it ends some day."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import evt, service_class
from sqlalchemy.orm import Session, sessionmaker
from structlog.testing import capture_logs

from dicom_node import priors_scu
from dicom_node.logs import drop_unlisted
from dicom_node.priors import Priors
from dicom_node.priors_scu import PriorsError
from storage.tables import Encounter, Patient, Photograph
from tests import query_archive
from tests.peers import free_port
from tests.query_archive import QueryArchive, prior_study, running_query_archive, scu_of
from tests.receiving import running_receiver
from tests.unit.rows import add_photograph, database

_KNOWN = "1.2.3.4"


def _patients(folder: Path, count: int) -> sessionmaker[Session]:
    """Return a database of patients TEST-0 and on, each with one photograph of 2026."""
    sessions = database(folder)
    with sessions.begin() as session:
        for number in range(count):
            patient = Patient(patient_id=f"TEST-{number}", issuer_of_patient_id="")
            session.add(patient)
            session.flush()
            add_photograph(session, f"1.{number}", study=f"1.1.{number}")
            study = session.query(Encounter).filter_by(study_instance_uid=f"1.1.{number}").one()
            study.patient_pk, study.study_date = patient.id, "20260101"
    return sessions


def _prior(number: int) -> Dataset:
    (one,) = prior_study("20250101", 1, PatientID=f"TEST-{number}", IssuerOfPatientID="")
    return one


class _Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_an_archive_that_does_not_move_is_left_alone_for_a_minute(tmp_path: Path) -> None:
    clock = _Clock()
    with running_query_archive([_prior(0), _prior(1)], moves=False) as archive:
        priors = Priors(sessions=_patients(tmp_path, 2), scu=scu_of(archive), clock=clock)
        for _ in range(3):
            assert priors.ask_due() == 0
            clock.now += timedelta(seconds=20)
        # Nor is it asked for the next patient, for whom it would not do it, either.
        assert (archive.associations, archive.queries) == (1, [])
        for _ in range(2):
            priors.ask_due()
            clock.now += timedelta(seconds=60)
        assert archive.associations == 2  # twice as long


def test_patients_that_fail_hold_up_nobody_else(tmp_path: Path) -> None:
    sessions, clock = _patients(tmp_path / "node", 21), _Clock()
    with (
        running_receiver(tmp_path / "receiver", senders=[{"ae_title": "ARCHIVE"}]) as receiver,
        running_query_archive([_prior(n) for n in range(21)], to=receiver.port) as archive,
    ):
        archive.refused = {f"TEST-{n}" for n in range(20)}
        priors = Priors(sessions=sessions, scu=scu_of(archive), clock=clock)
        for _ in range(21):
            priors.ask_due()
            clock.now += timedelta(seconds=1)
        assert archive.associations == 21
        with sessions() as session:
            asked = session.query(Patient).filter(Patient.priors_asked_at.is_not(None)).all()
        assert [one.patient_id for one in asked] == ["TEST-20"]


def test_what_the_archive_fails_at_each_time_is_given_up(tmp_path: Path) -> None:
    sessions, clock = _patients(tmp_path, 1), _Clock()
    with running_query_archive([_prior(0)]) as archive, capture_logs() as events:
        archive.failing, archive.status = "STUDY", 0xC000
        priors = Priors(sessions=sessions, scu=scu_of(archive), clock=clock, attempts=3)
        for _ in range(5):
            priors.ask_due()
            clock.now += timedelta(hours=1)
        assert archive.associations == 3
    given_up = [event for event in events if event["event"] == "priors given up"]
    assert [(event["error"], event["attempts"]) for event in given_up] == [("find_failed_C000", 3)]
    with sessions() as session:
        assert session.query(Patient).one().priors_asked_at is not None


def test_an_archive_that_is_away_is_never_given_up(tmp_path: Path) -> None:
    sessions, clock = _patients(tmp_path, 1), _Clock()
    priors = Priors(
        sessions=sessions, scu=scu_of(QueryArchive([], port=free_port())), clock=clock, attempts=3
    )
    with capture_logs() as events:
        for _ in range(5):
            priors.ask_due()
            clock.now += timedelta(hours=1)
    assert [event["event"] for event in events] == ["priors not fetched"] * 5
    with sessions() as session:
        assert session.query(Patient).one().priors_asked_at is None


@pytest.mark.parametrize("fails_at", ["the archive", "a patient"])
def test_what_failed_while_the_clock_was_ahead_is_asked_for_once_it_is_set_right(
    tmp_path: Path, fails_at: str
) -> None:
    sessions, clock = _patients(tmp_path, 1), _Clock()
    with running_query_archive([_prior(0)], moves=fails_at != "the archive") as archive:
        archive.failing = "STUDY"
        priors = Priors(sessions=sessions, scu=scu_of(archive), clock=clock)
        clock.now += timedelta(days=365)
        priors.ask_due()
        clock.now -= timedelta(days=365)
        priors.ask_due()
        assert archive.associations == 2


def test_a_series_that_is_not_moved_holds_up_no_other_one(tmp_path: Path) -> None:
    (first,), (second,) = prior_study("20240101", 1), prior_study("20250101", 1)
    with (
        running_receiver(tmp_path, senders=[{"ae_title": "ARCHIVE"}]) as receiver,
        running_query_archive([first, second], to=receiver.port) as archive,
    ):
        archive.refused = {str(first.StudyInstanceUID)}
        with pytest.raises(PriorsError, match=r"^move_failed_A702$"):
            _fetch(archive)
        assert archive.moved == [[first.SOPInstanceUID], [second.SOPInstanceUID]]
        assert len(receiver.files("photograph")) == 1


class _HangingUp(frozenset[str]):
    """Known photographs; when they are looked at, between C-FIND and C-MOVE, the association is lost."""

    archive: QueryArchive

    def __contains__(self, uid: object) -> bool:
        self.archive.hang_up()
        time.sleep(0.5)
        return super().__contains__(uid)


def _hang_up_before_the_move(archive: QueryArchive) -> None:
    known = _HangingUp()
    known.archive = archive
    _fetch(archive, known)


def _fetch(archive: QueryArchive, known: frozenset[str] = frozenset()) -> None:
    scu_of(archive).fetch("TEST-0001", "TESTHOSPITAL", before="20260101", apart_from=_KNOWN, known=known)


def _with(**values: object) -> Callable[[QueryArchive], None]:
    def fetch(archive: QueryArchive) -> None:
        for name, value in values.items():
            setattr(archive, name, value)
        _fetch(archive)

    return fetch


@pytest.mark.parametrize(
    ("failing", "reason"),
    [
        (_with(port=free_port()), "no_association"),
        (_with(host="nowhere.invalid"), "no_association_gaierror"),
        (_with(tls=True), "no_association_ValueError"),
        (_with(failing="STUDY"), "find_failed_A702"),
        (_with(failing="IMAGE", status=0xC000), "find_failed_C000"),
        (_with(without="StudyInstanceUID"), "answer_without_StudyInstanceUID"),
        (_with(without="SeriesInstanceUID"), "answer_without_SeriesInstanceUID"),
        (_with(without="SOPInstanceUID"), "answer_without_SOPInstanceUID"),
        (_with(refused={"TEST-0001"}), "move_failed_A702"),
        (_with(refused={"TEST-0001"}, status=0xB000), "move_failed_B000"),
        (_with(abort_after=0), "move_not_answered"),
        (_hang_up_before_the_move, "failed_RuntimeError"),
    ],
)
def test_why_priors_were_not_fetched_is_a_word_that_the_log_keeps(
    tmp_path: Path, failing: Callable[[QueryArchive], None], reason: str
) -> None:
    with (
        running_receiver(tmp_path, senders=[{"ae_title": "ARCHIVE"}]) as receiver,
        running_query_archive(prior_study("20250101", 1), to=receiver.port) as archive,
        pytest.raises(PriorsError) as failed,
    ):
        failing(archive)
    assert drop_unlisted(None, "", {"error": str(failed.value)}) == {"error": reason}


def test_an_archive_that_does_not_move_is_told_as_such(tmp_path: Path) -> None:
    with running_query_archive([], moves=False) as archive, pytest.raises(PriorsError) as failed:
        _fetch(archive)
    assert drop_unlisted(None, "", {"error": str(failed.value)}) == {"error": "move_not_accepted"}


def test_an_answer_that_cannot_be_parsed_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    well = service_class.encode

    def garbled(*arguments: Any) -> bytes:
        return bytes(well(*arguments) or b"").replace(b"UI", b"XX")

    with running_query_archive(prior_study("20250101", 1)) as archive:
        monkeypatch.setattr(service_class, "encode", garbled)
        with pytest.raises(PriorsError, match=r"^unusable_answer$"):
            _fetch(archive)


def test_later_studies_of_other_modalities_take_no_photographs_place(tmp_path: Path) -> None:
    photographs = prior_study("20190101", 1)
    photographs[0].ModalitiesInStudy = ["DOC", "XC"]
    with (
        running_receiver(tmp_path, senders=[{"ae_title": "ARCHIVE"}]) as receiver,
        running_query_archive(photographs, to=receiver.port) as archive,
    ):
        for month in range(1, 7):  # one more than `most_studies`
            (scan,) = prior_study(f"2024{month:02}01", 1, ModalitiesInStudy="MR")
            scan.Modality = "MR"
            archive.datasets.append(scan)
        fetched = scu_of(archive).fetch(
            "TEST-0001", "TESTHOSPITAL", before="20260101", apart_from="", known=frozenset()
        )
    assert fetched == 1
    assert archive.moved == [[str(photographs[0].SOPInstanceUID)]]
    assert archive.queries.count("SERIES") == 1


def test_an_archive_that_has_to_look_for_photographs_may_be_silent_while_it_moves(tmp_path: Path) -> None:
    photographs = prior_study("20190101", 1)
    with (
        running_receiver(tmp_path, senders=[{"ae_title": "ARCHIVE"}]) as receiver,
        running_query_archive(photographs, to=receiver.port) as archive,
    ):
        archive.before_move_seconds = 2
        scu = scu_of(archive)
        hasty = replace(scu, caller=replace(scu.caller, response_seconds=1))
        fetched = hasty.fetch(
            "TEST-0001", "TESTHOSPITAL", before="20260101", apart_from="", known=frozenset()
        )
        assert (fetched, len(receiver.rows(Photograph))) == (1, 1)


def test_a_study_that_is_answered_twice_takes_no_other_ones_place(tmp_path: Path) -> None:
    studies = [prior_study(f"2025{month:02}01", 2) for month in range(1, 6)]  # as many as `most_studies`
    with (
        running_receiver(tmp_path, senders=[{"ae_title": "ARCHIVE"}]) as receiver,
        running_query_archive([one for study in studies for one in study], to=receiver.port) as archive,
    ):
        archive.times = 2
        fetched = scu_of(archive).fetch(
            "TEST-0001", "TESTHOSPITAL", before="20260101", apart_from="", known=frozenset()
        )
    assert archive.moved == [[str(one.SOPInstanceUID) for one in study] for study in studies]
    assert fetched == 10


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_answers_without_end_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setattr(priors_scu, "_MOST_ANSWERS", 20, raising=False)
    sent: list[int] = []

    class Endless(QueryArchive):
        def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
            for status, answer in super().find(event):
                for number in range(1000 if event.identifier.QueryRetrieveLevel == level else 1):
                    sent.append(number)
                    yield status, answer

    monkeypatch.setattr(query_archive, "QueryArchive", Endless)
    with (
        running_query_archive(prior_study("20250101", 1)) as archive,
        pytest.raises(PriorsError, match=r"^find_answers_without_end$"),
    ):
        _fetch(archive)
    assert len(sent) < 900
