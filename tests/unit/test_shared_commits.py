from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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


def test_those_who_wait_share_one_commit_and_errors_stay_with_their_own(engine: Engine) -> None:
    commits = SharedCommits(sessions(engine))
    committed: list[object] = []
    first_runs, all_wait = threading.Event(), threading.Event()

    def first(connection: Connection) -> str:
        first_runs.set()
        assert all_wait.wait(20)
        return add(connection, "TEST-0")

    with ThreadPoolExecutor(6) as pool:
        leader = pool.submit(commits.run, first)
        assert first_runs.wait(20)
        event.listen(engine, "commit", committed.append)
        others = [pool.submit(commits.run, lambda c, n=n: add(c, f"TEST-{n}")) for n in range(1, 4)]
        failing = pool.submit(commits.run, lambda c: add(c, "TEST-0"))
        while len(commits._waiting) < 4:
            time.sleep(0.001)
        all_wait.set()
        assert [leader.result(20), *(o.result(20) for o in others)] == [f"TEST-{n}" for n in range(4)]
        with pytest.raises(IntegrityError):
            failing.result(20)
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
    commits = SharedCommits(sessions(engine))
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    event.listen(engine, "begin", lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages + 20}"))
    first_runs, all_wait = threading.Event(), threading.Event()

    def first(connection: Connection) -> str:
        first_runs.set()
        assert all_wait.wait(20)
        return add(connection, "TEST-0")

    with ThreadPoolExecutor(6) as pool:
        leader = pool.submit(commits.run, first)
        assert first_runs.wait(20)
        # The second of those who wait needs more pages than are left.
        names = [f"TEST-{n}" + "0" * (1_000_000 if n == 2 else 0) for n in range(1, 5)]
        others = []
        for name in names:
            others.append(pool.submit(commits.run, lambda c, n=name: add(c, n)))
            while len(commits._waiting) < len(others):
                time.sleep(0.001)
        all_wait.set()
        ended = [leader, *others]
        told = [future.result(20) for future in ended if future.exception(20) is None]
        failures = [type(error) for future in ended if (error := future.exception(20)) is not None]
    assert told == ["TEST-0"]
    assert failures == [OperationalError] * 4
    assert patients(engine) == told
