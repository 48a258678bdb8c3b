"""The durable queue on a real DBOS system database, in this process."""

from __future__ import annotations

import base64
import logging
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from dbos import DBOS

from dicom_node.stored_queue import forget_failed_workflows, system_database, workflow_states
from dicom_node.trigger import workflow_id
from dicom_node.workflow import StudyQueue
from storage.studies import OpenStudy
from storage.urgency import Urgency
from tests.integration.running_node import wait_until

SECRET = "TEST^PATIENT"
STUDY = OpenStudy("1.2", ("1.3", "1.4"))


@contextmanager
def _queue(
    folder: Path,
    score: Callable[[str], None],
    report: Callable[[Sequence[str]], None] = lambda _: None,
    *,
    setup: str = "ab" * 32,
) -> Iterator[StudyQueue]:
    queue = StudyQueue(
        system_database=system_database(folder),
        setup_digest=setup,
        score_photograph=lambda uid, _following: score(uid),
        report_study=lambda uids, reopened: report(uids),
        retry_seconds=0.05,
    )
    queue.start()
    try:
        yield queue
    finally:
        queue.stop(seconds=1)


def test_photographs_come_in_order_and_the_report_last(tmp_path: Path) -> None:
    done: list[object] = []
    with _queue(tmp_path, done.append, done.append) as queue:
        queue.submit("w", STUDY)
        wait_until(lambda: len(done) == 3, 20, "the workflow")
        queue.submit("w", STUDY)
        time.sleep(1.5)
        assert queue.known(["w", "other"]) == {"w"}
    assert done == ["1.3", "1.4", ["1.3", "1.4"]]


def test_the_report_of_a_study_that_was_asked_for_anew_is_told_so(tmp_path: Path) -> None:
    told: list[tuple[Sequence[str], int]] = []
    queue = StudyQueue(
        system_database=system_database(tmp_path),
        setup_digest="ab" * 32,
        score_photograph=lambda *_: None,
        report_study=lambda uids, reopened: told.append((list(uids), reopened)),
    )
    queue.start()
    try:
        for times in (0, 2):
            study = replace(STUDY, reopened=times)
            queue.submit(workflow_id(study, "ab" * 32), study)
        wait_until(lambda: len(told) == 2, 20, "both reports")
    finally:
        queue.stop(seconds=1)
    assert sorted(told) == [(list(STUDY.photographs), 0), (list(STUDY.photographs), 2)]


def test_more_studies_may_wait_than_a_statement_has_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"w{number}" for number in range(40_000)]

    def list_workflows(*, workflow_ids: list[str], **_: object) -> list[SimpleNamespace]:
        assert len(workflow_ids) <= 32_766  # what SQLite takes unless it was built for more
        return [SimpleNamespace(workflow_id=name) for name in workflow_ids]

    monkeypatch.setattr(DBOS, "list_workflows", list_workflows)
    queue = StudyQueue(
        system_database=tmp_path,
        setup_digest="",
        score_photograph=lambda *_: None,
        report_study=lambda *_: None,
    )
    assert queue.known(names) == set(names)


def test_one_study_at_a_time(tmp_path: Path) -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def score(_: str) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.1)
        with lock:
            running -= 1

    reports: list[Sequence[str]] = []
    with _queue(tmp_path, score, reports.append) as queue:
        for number in range(3):
            queue.submit(f"w{number}", STUDY)
        wait_until(lambda: len(reports) == 3, 30, "three workflows")
    assert most == 1


def test_todays_study_comes_before_what_was_imported_earlier(tmp_path: Path) -> None:
    first_begun, go_on = threading.Event(), threading.Event()
    scored: list[str] = []

    def score(uid: str) -> None:
        first_begun.set()
        assert go_on.wait(20)
        scored.append(uid)

    with _queue(tmp_path, score) as queue:
        queue.submit("under way", OpenStudy("1.1", ("1",)))
        assert first_begun.wait(20)
        for name, urgency in (
            ("old", Urgency.EARLIER),
            ("undated", Urgency.UNDATED),
            ("today", Urgency.TODAY),
        ):
            queue.submit(name, OpenStudy("1.2", (name,), urgency=urgency))
        go_on.set()
        wait_until(lambda: len(scored) == 4, 30, "four studies")
    assert scored == ["1", "today", "undated", "old"]


def test_a_report_is_written_while_the_next_study_is_scored(tmp_path: Path) -> None:
    second_begun = threading.Event()
    beside: list[bool] = []

    def score(uid: str) -> None:
        if uid == "2.3":
            second_begun.set()

    def report(_: Sequence[str]) -> None:
        beside.append(second_begun.wait(10))

    with _queue(tmp_path, score, report) as queue:
        queue.submit("w1", STUDY)
        queue.submit("w2", OpenStudy("2.2", ("2.3",)))
        wait_until(lambda: len(beside) == 2, 20, "both reports")
    assert beside == [True, True]


def test_a_report_that_keeps_failing_starts_its_study_anew(tmp_path: Path) -> None:
    reports: list[Sequence[str]] = []

    def fail_at_first(uids: Sequence[str]) -> None:
        reports.append(uids)
        if len(reports) <= 3:
            raise OSError("the disk is away")

    with _queue(tmp_path, lambda _: None, fail_at_first) as queue:
        queue.submit("w", STUDY)
        wait_until(lambda: queue.depth()["ERROR"], 20, "the failure")
        assert workflow_states(system_database(tmp_path)) == [("w:report", "ERROR")]
        assert forget_failed_workflows(system_database(tmp_path)) == ["w"]
        assert queue.known(["w"]) == set()
        queue.submit("w", STUDY)
        wait_until(lambda: len(reports) == 4, 20, "the report")


def test_a_step_that_fails_for_a_while_is_tried_again(tmp_path: Path) -> None:
    calls: list[str] = []
    reports: list[Sequence[str]] = []

    def score(uid: str) -> None:
        calls.append(uid)
        if len(calls) < 3:
            raise OSError("the disk is away")

    with _queue(tmp_path, score, reports.append) as queue:
        queue.submit("w", STUDY)
        wait_until(lambda: reports, 20, "the report")
        wait_until(lambda: not any(queue.depth().values()), 20, "the end of the workflow")
    assert calls == ["1.3", "1.3", "1.3", "1.4"]


def test_a_step_that_keeps_failing_fails_its_study_until_someone_retries(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []
    broken = True

    def score(uid: str) -> None:
        calls.append(uid)
        if broken:
            raise ValueError(SECRET)

    reports: list[Sequence[str]] = []
    with caplog.at_level(logging.DEBUG), _queue(tmp_path, score, reports.append) as queue:
        queue.submit("w", STUDY)
        wait_until(lambda: queue.depth()["ERROR"], 20, "the failure")
        assert calls == ["1.3"] * 3
        assert workflow_states(system_database(tmp_path)) == [("w", "ERROR")]
        assert b"ValueError" in _everything_stored(system_database(tmp_path))
        assert SECRET.encode() not in _everything_stored(system_database(tmp_path))
        broken = False
        assert forget_failed_workflows(system_database(tmp_path)) == ["w"]
        assert queue.known(["w"]) == set()
        queue.submit("w", STUDY)
        wait_until(lambda: reports, 20, "the report")
    captured = capfd.readouterr()
    assert SECRET not in captured.out + captured.err
    assert "console.dbos.dev" not in captured.out + captured.err


def test_a_photograph_that_ends_the_process_fails_its_study_and_no_other(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-m", "tests.crashing_queue", str(tmp_path), str(log), "3"]
    ends = [subprocess.run(command, timeout=60, check=False).returncode for _ in range(4)]
    assert ends == [-signal.SIGSEGV] * 3 + [0]
    # The finished step is not run again.
    assert log.read_text().splitlines() == ["fine", "bad", "bad", "bad", "good", "report good"]
    assert workflow_states(system_database(tmp_path)) == [("crashes", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")]
    assert forget_failed_workflows(system_database(tmp_path)) == ["crashes"]


def _everything_stored(path: Path) -> bytes:
    """Return every value in the SQLite file, those in base64 decoded as well."""
    values = []
    with closing(sqlite3.connect(path)) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in database.execute(f"SELECT * FROM {table}"):
                values += [str(value).encode() for value in row]
    # DBOS pickles what it stores and writes it in base64.
    pickles = [base64.b64decode(value) for value in values if len(value) > 16 and len(value) % 4 == 0]
    return b"\n".join(values + pickles)


def test_what_another_setup_left_is_dropped_for_the_sweep_to_submit_anew(tmp_path: Path) -> None:
    release = threading.Event()
    begun: list[object] = []

    def hang(step: object) -> None:
        begun.append(step)
        release.wait(30)

    try:
        with _queue(tmp_path, hang) as queue:
            queue.submit("running", STUDY)
            queue.submit("waiting", STUDY)
            wait_until(lambda: begun, 20, "the first step")
            assert queue.stop(seconds=1) is False
        with _queue(tmp_path, begun.append, hang, setup="cd" * 32) as queue:
            assert queue.known(["running", "waiting"]) == set()
            queue.submit("reporting", STUDY)
            wait_until(lambda: list(STUDY.photographs) in begun, 20, "the report's step")
            assert queue.stop(seconds=1) is False
        with _queue(tmp_path, begun.append) as queue:
            assert queue.known(["reporting"]) == set()
    finally:
        release.set()
