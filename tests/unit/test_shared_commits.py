from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError

from storage.database import connect, migrate, sessions
from storage.shared_commits import SharedCommits
from storage.tables import Patient


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{tmp_path / 'facenorm.sqlite'}")
    migrate(engine)
    yield engine
    engine.dispose()


def patients(engine: Engine) -> list[str]:
    with sessions(engine)() as session:
        return sorted(session.scalars(select(Patient.patient_id)))


def add(connection: Connection, patient: str) -> str:
    connection.execute(insert(Patient), {"patient_id": patient})
    return patient


def ended(commits: SharedCommits, *patients: str) -> list[Future[str]]:
    """Add the first of the patients; all others wait meanwhile, in this order. Return how each ended."""
    first_runs, all_wait = threading.Event(), threading.Event()

    def first(connection: Connection) -> str:
        first_runs.set()
        assert all_wait.wait(20)
        return add(connection, patients[0])

    with ThreadPoolExecutor(len(patients)) as pool:
        futures = [pool.submit(commits.run, first)]
        assert first_runs.wait(20)
        for patient in patients[1:]:
            futures.append(pool.submit(commits.run, lambda c, p=patient: add(c, p)))
            while len(commits._waiting) < len(futures) - 1:
                time.sleep(0.001)
        all_wait.set()
    return futures


def test_those_who_wait_share_one_commit_and_errors_stay_with_their_own(engine: Engine) -> None:
    committed: list[object] = []
    event.listen(engine, "commit", committed.append)
    *well, failing = ended(SharedCommits(sessions(engine)), "TEST-0", "TEST-1", "TEST-2", "TEST-3", "TEST-0")
    assert [future.result() for future in well] == [f"TEST-{n}" for n in range(4)]
    with pytest.raises(IntegrityError):
        failing.result()
    assert patients(engine) == [f"TEST-{n}" for n in range(4)]
    assert len(committed) == 2  # the first one's, and one for all who waited meanwhile


def test_a_failing_commit_is_everybodys_error(engine: Engine) -> None:
    commits = SharedCommits(sessions(engine))

    def fail(_connection: object) -> None:
        raise OperationalError("COMMIT", None, Exception("disk I/O error"))

    event.listen(engine, "commit", fail)
    with pytest.raises(OperationalError):
        commits.run(lambda connection: add(connection, "TEST-1"))
    event.remove(engine, "commit", fail)
    assert commits.run(lambda connection: add(connection, "TEST-2")) == "TEST-2"
    assert patients(engine) == ["TEST-2"]


def test_who_was_told_that_it_is_committed_finds_it_though_the_disk_was_full_for_another(
    engine: Engine,
) -> None:
    """SQLite takes back the whole transaction, and begins another when it is asked for a savepoint."""
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    event.listen(engine, "begin", lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages + 20}"))
    larger_than_what_is_left = "TEST-2" + "0" * 1_000_000
    names = ["TEST-0", "TEST-1", larger_than_what_is_left, "TEST-3", "TEST-4"]
    first, *others = ended(SharedCommits(sessions(engine)), *names)
    assert first.result() == "TEST-0"
    assert [type(future.exception()) for future in others] == [OperationalError] * 4
    assert patients(engine) == ["TEST-0"]
