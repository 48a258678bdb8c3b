from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from dicom_node.stored_queue import REPORT
from dicom_node.trigger import Trigger, times_reopened, workflow_id
from storage.artefacts import STRUCTURED_REPORT, FinishedObject, add_artefact, cover_photographs
from storage.studies import OpenStudy, quiet_studies
from storage.tables import Photograph
from tests.unit.rows import NOON, add_photograph, database


class _Queue:
    """Keeps what is submitted, as the durable queue does."""

    def __init__(self) -> None:
        self.studies: dict[str, OpenStudy] = {}
        self.done: set[str] = set()

    def submit(self, workflow_id: str, study: OpenStudy) -> None:
        assert workflow_id not in self.studies
        self.studies[workflow_id] = study

    def known(self, workflow_ids: Sequence[str]) -> set[str]:
        return set(workflow_ids) & self.studies.keys()

    def unfinished(self, workflow_ids: Sequence[str]) -> set[str]:
        return self.known(workflow_ids) - self.done


class _Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def _trigger(sessions: sessionmaker[Session]) -> tuple[Trigger, _Queue, _Clock]:
    queue, clock = _Queue(), _Clock()
    trigger = Trigger(
        sessions=sessions, workflows=queue, clock=clock, quiet_seconds=10, setup_digest="ab" * 32
    )
    return trigger, queue, clock


def _report(session: Session, photographs: list[Photograph]) -> None:
    report = add_artefact(
        session,
        FinishedObject(STRUCTURED_REPORT, "1.9", "1.2.840.10008.5.1.4.1.1.88.34", "1.8", "0" * 64, "r/1.9"),
        encounter_pk=photographs[0].encounter_pk,
        scorings=[],
        destinations=[],
        created_at=NOON,
    )
    cover_photographs(session, report, photographs)


def test_a_study_waits_until_nothing_came_for_the_quiet_period(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    trigger, queue, clock = _trigger(sessions)
    with sessions.begin() as session:
        add_photograph(session, "1.1", at=NOON)
    clock.advance(9)
    assert trigger.sweep() == 0
    with sessions.begin() as session:
        add_photograph(session, "1.2", at=clock.now)
    clock.advance(9)
    assert trigger.sweep() == 0
    clock.advance(1)
    assert trigger.sweep() == 1
    assert [study.photographs for study in queue.studies.values()] == [("1.1", "1.2")]


def test_a_study_that_came_while_the_clock_was_ahead_does_not_wait_for_that_time(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    with sessions.begin() as session:
        add_photograph(session, "1.1", at=NOON + timedelta(days=1000))
        add_photograph(session, "1.2", study="1.4", at=NOON + timedelta(minutes=5))
        for quiet_seconds in (0, 10, 86_400):
            (study,) = quiet_studies(session, now=NOON, quiet_seconds=quiet_seconds)
            assert study.photographs == ("1.1",)


def test_the_next_sweep_starts_nothing_twice(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    trigger, queue, clock = _trigger(sessions)
    with sessions.begin() as session:
        add_photograph(session, "1.1")
        add_photograph(session, "2.1", study="2.2")
    clock.advance(60)
    assert [trigger.sweep() for _ in range(3)] == [2, 0, 0]
    assert len(queue.studies) == 2


def test_a_later_photograph_makes_another_workflow_over_the_whole_study(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    trigger, queue, clock = _trigger(sessions)
    with sessions.begin() as session:
        _report(session, [add_photograph(session, "1.1")])
    clock.advance(60)
    assert trigger.sweep() == 0
    with sessions.begin() as session:
        add_photograph(session, "1.2", at=clock.now)
    clock.advance(10)
    assert trigger.sweep() == 1
    assert [study.photographs for study in queue.studies.values()] == [("1.1", "1.2")]


def test_a_covered_study_is_not_scored_again_by_a_new_setup(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    trigger, queue, clock = _trigger(sessions)
    with sessions.begin() as session:
        _report(session, [add_photograph(session, "1.1")])
    clock.advance(60)
    other = Trigger(sessions=sessions, workflows=queue, clock=clock, quiet_seconds=10, setup_digest="cd" * 32)
    assert (trigger.sweep(), other.sweep()) == (0, 0)


def test_one_sender_has_so_many_studies_in_the_queue_and_others_their_own(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    trigger, queue, clock = _trigger(sessions)
    trigger = replace(trigger, most_waiting=2)
    with sessions.begin() as session:
        for number in range(5):
            add_photograph(session, f"1.{number}", study=f"1.1.{number}")
    clock.advance(60)
    assert [trigger.sweep() for _ in range(2)] == [2, 0]
    with sessions.begin() as session:
        add_photograph(session, "2.1", study="2.2").calling_ae_title = "OTHER"
    queue.done.add(next(iter(queue.studies)))
    clock.advance(60)
    assert trigger.sweep() == 2
    assert [study.photographs for study in queue.studies.values()][2:] == [("2.1",), ("1.2",)]


def test_the_workflow_id_depends_on_study_photographs_and_setup_only() -> None:
    study = OpenStudy("1.2", ("1.3", "1.4"))
    same = OpenStudy("1.2", ("1.4", "1.3"))
    assert workflow_id(study, "a" * 64) == workflow_id(same, "a" * 64)
    others = {
        workflow_id(study, "b" * 64),
        workflow_id(OpenStudy("1.2", ("1.3",)), "a" * 64),
        workflow_id(OpenStudy("1.20", ("1.3", "1.4")), "a" * 64),
    }
    assert workflow_id(study, "a" * 64) not in others
    assert len(others) == 3


def test_a_workflow_tells_how_often_its_study_had_been_reopened() -> None:
    for times in (0, 1, 12):
        identifier = workflow_id(OpenStudy("1.2", ("1.3",), reopened=times), "a" * 64)
        assert [times_reopened(name) for name in (identifier, f"{identifier}{REPORT}")] == [times] * 2
