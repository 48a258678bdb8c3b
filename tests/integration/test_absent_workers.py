"""Who looks for absent workers hands their work back once, and only when they are absent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.absent_workers import AbsentWorkers
from dicom_node.heartbeat import Heartbeat
from dicom_node.shared_queue import SharedQueue
from dicom_node.shared_trigger import SharedTrigger
from dicom_node.stored_queue import forget_failed_workflows, prepare_queue
from storage.database import open_database, sessions
from storage.studies import OpenStudy
from storage.workers import Scores, count_workers
from tests.postgresql import PostgresPeer
from tests.unit.rows import add_photograph

OLD, NEW = Scores("2-old", "0" * 64), Scores("2-new", "1" * 64)


@dataclass
class _Department:
    """A database with a queue, a clock that tests set, and workers that do nothing but beat."""

    engine: Engine
    url: str
    now: datetime = datetime(2026, 6, 1, 12, tzinfo=UTC)
    sessions: sessionmaker[Session] = field(init=False)
    queue: SharedQueue = field(init=False)

    def __post_init__(self) -> None:
        prepare_queue(self.url)
        self.sessions, self.queue = sessions(self.engine), SharedQueue(self.url)

    def worker(self, name: str, scores: Scores = NEW) -> Heartbeat:
        worker = Heartbeat(
            sessions=self.sessions, queue=self.queue, executor_id=name, scores=scores, clock=lambda: self.now
        )
        worker.beat()
        return worker

    def looking(self, holder: str = "node", *, starts: int = 10) -> AbsentWorkers:
        return AbsentWorkers(
            sessions=self.sessions,
            queue=self.queue,
            clock=lambda: self.now,
            holder=holder,
            turn_seconds=5,
            gone_seconds=30,
            starts=starts,
        )

    def take_up(self, workflow_id: str, executor_id: str, scores: Scores = NEW) -> None:
        """Have an executor take up a study, as DBOS would note it."""
        self.queue.submit(workflow_id, OpenStudy("1.2", ("1.3",)), scores.application_version)
        self._execute(
            "UPDATE dbos.workflow_status SET status = 'PENDING', executor_id = :executor_id "
            "WHERE workflow_uuid = :workflow_id",
            workflow_id=workflow_id,
            executor_id=executor_id,
        )

    def state(self, workflow_id: str) -> tuple[str, str | None] | None:
        """Return the state and the queue of a workflow."""
        with self.engine.connect() as connection:
            query = "SELECT status, queue_name FROM dbos.workflow_status WHERE workflow_uuid = :name"
            row = connection.execute(text(query), {"name": workflow_id}).first()
        return (row[0], row[1]) if row else None

    def wait(self, seconds: float, looking: AbsentWorkers, *living: Heartbeat) -> None:
        """Let the time pass in steps of five seconds, in which the living beat and `looking` looks."""
        for _ in range(int(seconds / 5)):
            self.now += timedelta(seconds=5)
            for worker in living:
                worker.beat()
            looking.turn()

    def count(self) -> dict[str, int]:
        with self.sessions() as session:
            return count_workers(session)

    def _execute(self, statement: str, **values: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)


@pytest.fixture
def department(postgresql: PostgresPeer) -> Iterator[_Department]:
    url = postgresql.database()
    department = _Department(open_database(url), url)
    yield department
    department.queue.close()
    department.engine.dispose()


def test_the_work_of_a_silent_worker_is_handed_back_and_that_of_a_living_one_is_not(
    department: _Department,
) -> None:
    living, looking = department.worker("living"), department.looking()
    department.worker("silent")
    department.take_up("a", "silent")
    department.take_up("b", "living")
    department.wait(30, looking, living)
    assert department.state("a") == ("PENDING", "scoring")
    department.wait(10, looking, living)
    assert department.state("a") == ("ENQUEUED", "scoring")
    assert department.state("b") == ("PENDING", "scoring")
    assert department.count() == {"alive": 1, "gone": 1}


def test_a_worker_that_beats_again_lives_and_its_row_goes_a_day_after_it_has_gone(
    department: _Department,
) -> None:
    late, looking = department.worker("late"), department.looking()
    department.wait(40, looking)
    assert department.count() == {"alive": 0, "gone": 1}
    late.beat()
    assert department.count() == {"alive": 1, "gone": 0}
    department.wait(40, looking)
    department.now += timedelta(days=1, seconds=1)
    looking.turn()
    assert department.count() == {"alive": 0, "gone": 0}


def test_nobody_has_gone_when_the_database_was_away_for_all(
    department: _Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, looking = department.worker("worker"), department.looking()
    department.wait(25, looking)
    with monkeypatch.context() as away:
        away.setattr("dicom_node.absent_workers.hold_lease", _fail)
        for _ in range(20):
            department.now += timedelta(seconds=5)
            with pytest.raises(OperationalError):
                looking.turn()
    department.wait(25, looking)
    assert department.count() == {"alive": 1, "gone": 0}
    department.wait(100, looking, worker)
    assert department.count() == {"alive": 1, "gone": 0}


def _fail(*_arguments: object, **_named: object) -> None:
    raise OperationalError("", {}, OSError())


def test_one_alone_looks_and_another_begins_to_count_anew_when_it_is_gone(department: _Department) -> None:
    department.worker("silent")
    first, second = department.looking("first"), department.looking("second")
    assert (first.turn(), second.turn()) == (True, False)
    department.now += timedelta(seconds=25)  # the lease is over, and the first one is dead
    department.wait(25, second)
    assert department.count() == {"alive": 1, "gone": 0}
    department.wait(10, second)
    assert department.count() == {"alive": 0, "gone": 1}
    second.resign()
    assert first.turn()


def test_a_study_that_ends_every_worker_is_given_up_until_someone_retries(department: _Department) -> None:
    looking = department.looking(starts=3)
    for number in range(3):
        department.take_up("bad", f"worker-{number}")  # none of them beats
        looking.turn()
    assert department.state("bad") == ("CANCELLED", None)
    assert forget_failed_workflows(department.url) == ["bad"]


def test_who_takes_leave_hands_its_work_back_at_once(department: _Department) -> None:
    worker = department.worker("worker")
    department.take_up("a", "worker")
    worker.leave()
    assert department.state("a") == ("ENQUEUED", "scoring")
    assert department.count() == {"alive": 0, "gone": 0}


def test_a_study_that_costs_every_worker_its_gpu_is_given_up(department: _Department) -> None:
    for number in range(10):
        worker = department.worker(f"worker-{number}")
        department.take_up("bad", f"worker-{number}")
        worker.leave(device_lost=True)
        assert department.state("bad") == (("ENQUEUED", "scoring") if number < 9 else ("CANCELLED", None))
    assert department.count() == {"alive": 0, "gone": 0}


def test_studies_go_to_the_setup_that_was_started_last_and_only_once(department: _Department) -> None:
    with department.sessions.begin() as session:
        add_photograph(session, "1.3", study="1.2", at=department.now)
    trigger = SharedTrigger(
        sessions=department.sessions, queue=department.queue, clock=lambda: department.now, quiet_seconds=10
    )
    department.now += timedelta(seconds=20)
    assert trigger.sweep() == 0  # nobody is there to score it
    old = department.worker("old", OLD)
    assert trigger.sweep() == 1
    department.now += timedelta(seconds=1)
    new, looking = department.worker("new", NEW), department.looking()
    assert trigger.sweep() == 0  # it waits for the older setup, which lives
    department.wait(20, looking, old, new)
    assert department.queue.depth()["ENQUEUED"] == 1
    # When the last worker of that setup has gone, the study starts anew under the other.
    department.wait(40, looking, new)
    assert department.queue.depth()["ENQUEUED"] == 0
    assert trigger.sweep() == 1
    assert trigger.sweep() == 0
