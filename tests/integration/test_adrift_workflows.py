"""A workflow that stands still in a living process is queued again, on a real DBOS system database."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dicom_node.adrift_workflows import AdriftWorkflows
from dicom_node.stored_queue import system_database
from dicom_node.workflow import StudyQueue
from storage.studies import OpenStudy
from tests.integration.running_node import wait_until


def _take_up(folder: Path, *workflow_ids: str) -> None:
    """Have the node take up what waits, and forget it, as a thread does that dies before its first step."""
    with closing(sqlite3.connect(system_database(folder), timeout=20)) as database:
        for name in workflow_ids:
            database.execute(
                "UPDATE workflow_status SET status = 'PENDING', executor_id = 'node' WHERE workflow_uuid = ?",
                (name,),
            )
        database.commit()


def _state(folder: Path, workflow_id: str) -> str:
    with closing(sqlite3.connect(system_database(folder), timeout=20)) as database:
        query = "SELECT status FROM workflow_status WHERE workflow_uuid = ?"
        return str(database.execute(query, (workflow_id,)).fetchone()[0])


class _Clock:
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def turns(self, looking: AdriftWorkflows, *, seconds: int) -> int:
        """Let the time pass, with a look every five seconds; return how many were given back."""
        given_back = 0
        for _ in range(seconds // 5):
            self.now += timedelta(seconds=5)
            given_back += looking.turn()
        return given_back


def test_what_stands_still_is_queued_again_and_what_runs_is_not(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    scored: list[str] = []

    def score(uid: str) -> None:
        begun.set()
        assert go_on.wait(60)
        scored.append(uid)

    queue = StudyQueue(
        system_database=system_database(tmp_path),
        setup_digest="ab" * 32,
        score_photograph=lambda uid, _following: score(uid),
        report_study=lambda *_: None,
    )
    queue.start()
    try:
        queue.submit("runs", OpenStudy("1.1", ("1",)))
        assert begun.wait(20)
        assert queue.running() == {"runs"}
        queue.submit("adrift", OpenStudy("1.2", ("2",)))
        _take_up(tmp_path, "adrift")
        clock = _Clock()
        looking = AdriftWorkflows(queue, clock=clock, turn_seconds=5, adrift_seconds=30)
        assert clock.turns(looking, seconds=30) == 0
        # Who was held up for longer than a few looks knows nothing, and begins to count anew.
        clock.now += timedelta(seconds=60)
        assert clock.turns(looking, seconds=30) == 0
        assert _state(tmp_path, "adrift") == "PENDING"
        assert clock.turns(looking, seconds=10) == 1
        assert _state(tmp_path, "adrift") == "ENQUEUED"
        assert _state(tmp_path, "runs") == "PENDING"
        go_on.set()
        wait_until(lambda: not any(queue.depth().values()), 30, "both studies")
        assert scored == ["1", "2"]
        assert queue.running() == set()
    finally:
        go_on.set()
        queue.stop(seconds=1)
