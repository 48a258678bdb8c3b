"""`facenorm jobs` and `facenorm retry` on a database without a node."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dicom_node.cli import app
from dicom_node.stored_queue import system_database_url
from storage.deliveries import dead, mark_dead, mark_failed, revive, waiting
from tests.locked_out import locked_out
from tests.unit.rows import NOON, add_object, database, write_beside


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "facenorm.toml"
    path.write_text(f'[data]\nfolder = "{tmp_path}"\n')
    return path


def _run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--config", str(config)])


def _dead_and_due(folder: Path) -> tuple[int, int]:
    """Make one dead and one failed delivery; return their ids."""
    sessions = database(folder)
    with sessions.begin() as session:
        add_object(session, "1.1", ["PACS"])
        add_object(session, "1.2", ["PACS"])
    with sessions.begin() as session:
        first, second = waiting(session)
        mark_dead(session, first.id, error="status_C000")
        mark_failed(session, second.id, error="no_association", next_due=NOON)
    return first.id, second.id


def test_jobs_of_an_empty_node(config: Path, tmp_path: Path) -> None:
    database(tmp_path)
    result = _run(config, "jobs")
    assert result.exit_code == 0, result.output
    assert result.output == "Studies in the queue: 0\nDeliveries: 0 due, 0 uncommitted, 0 delivered, 0 dead\n"


def test_the_queue_is_found_in_a_folder_called_what_means_something_else_in_a_url(tmp_path: Path) -> None:
    queue = tmp_path / "100%25?" / "dbos.sqlite"
    prepare = f"from dbos import DBOS; DBOS.migrate({system_database_url(queue)!r})"
    queue.parent.mkdir()
    subprocess.run([sys.executable, "-c", prepare], check=True, timeout=60, cwd=tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == [queue.parent.name, queue.name]


def test_jobs_names_what_waits_and_what_was_given_up(config: Path, tmp_path: Path) -> None:
    first, second = _dead_and_due(tmp_path)
    result = _run(config, "jobs")
    assert result.exit_code == 1
    rows = [line.split() for line in result.output.splitlines()]
    assert [str(second), "due", "PACS", "1", NOON.isoformat(), "no_association", "1.2"] in rows
    assert [str(first), "dead", "PACS", "1", "-", "status_C000", "1.1"] in rows
    assert "facenorm retry --all" in result.output


def test_others_write_while_jobs_waits_for_its_reader(config: Path, tmp_path: Path) -> None:
    with database(tmp_path).begin() as session:
        add_object(session, "1.1", [f"PACS-{number}" for number in range(2000)])  # more than a pipe takes
    command = [str(Path(sys.executable).with_name("facenorm")), "jobs", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        try:
            while not process.stdout.readline().startswith(b"ID "):
                assert process.poll() is None
            write_beside(tmp_path)
            assert process.poll() is None, "it ended before it was written beside"
        finally:
            process.kill()


def test_retry_by_id_leaves_what_is_not_dead_alone(config: Path, tmp_path: Path) -> None:
    first, second = _dead_and_due(tmp_path)
    result = _run(config, "retry", str(first), str(second))
    assert result.exit_code == 1
    assert f"left alone: {second}" in result.output
    with database(tmp_path)() as session:
        assert [(d.id, d.attempts) for d in waiting(session)] == [(first, 0), (second, 1)]


def test_an_id_that_no_database_has_is_wrong_usage(config: Path, tmp_path: Path) -> None:
    database(tmp_path)
    result = _run(config, "retry", "28211873184418162066005872341706956973")  # the end of a UID
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)


def test_retry_all(config: Path, tmp_path: Path) -> None:
    _dead_and_due(tmp_path)
    result = _run(config, "retry", "--all")
    assert (result.exit_code, result.output) == (
        0,
        "1 deliveries are due again.\n0 studies will be scored again.\n",
    )
    with database(tmp_path)() as session:
        assert dead(session) == []


def test_more_dead_deliveries_than_a_statement_has_places_for_are_revived(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    with sessions.begin() as session:
        add_object(session, "1.1", [f"PACS{number}" for number in range(100)])
        for delivery in waiting(session):
            mark_dead(session, delivery.id, error="no_association")
    with sessions.begin() as session:
        # Of a usual build of SQLite 32766 places, of PostgreSQL's protocol 65535.
        driver = session.connection().connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 50)
        assert len(revive(session, now=NOON)) == 100
        assert (len(waiting(session)), dead(session)) == (100, [])


@pytest.mark.parametrize("arguments", [["jobs"], ["retry", "--all"], ["check", "--repair"]])
def test_a_damaged_queue_is_told_in_a_line(config: Path, tmp_path: Path, arguments: list[str]) -> None:
    database(tmp_path)
    (tmp_path / "dbos.sqlite").write_bytes(b"no database at all")
    result = _run(config, *arguments)
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert "the database, or the queue beside it, failed (DatabaseError)" in result.output


@pytest.mark.parametrize("arguments", [[], ["--all", "3"]])
def test_retry_wants_ids_or_all(config: Path, arguments: list[str]) -> None:
    assert _run(config, "retry", *arguments).exit_code == 2


def test_wrong_settings_are_wrong_usage(config: Path) -> None:
    config.write_text("[data]\nfolde = 1\n")
    for command in (["jobs"], ["retry", "--all"]):
        result = _run(config, *command)
        assert result.exit_code == 2
        assert "data.folde" in result.output


@pytest.mark.parametrize(
    "command", [("jobs",), ("retry", "--all"), ("history", "TEST-0001"), ("check", "--repair")]
)
def test_a_folder_that_no_node_has_used_is_named_and_not_made(
    config: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    config.write_text(f'[data]\nfolder = "{tmp_path / "absent"}"\n')
    result = _run(config, *command)
    assert result.exit_code == 1
    assert f"there is no database {tmp_path / 'absent' / 'facenorm.sqlite'}" in result.output
    assert "Studies in the queue" not in result.output
    assert [path.name for path in tmp_path.iterdir()] == [config.name]


@pytest.mark.parametrize("command", [("jobs",), ("retry", "--all"), ("history", "TEST-0001")])
def test_a_useless_database_is_told_without_its_password(
    config: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FACENORM_DATA__DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/x")
    result = _run(config, *command)
    assert result.exit_code == 1
    assert "check data.database_url" in result.output
    assert "hunter2" not in result.output
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("command", [("jobs",), ("check", "--repair"), ("migrate",), ("backup", "x.tar")])
def test_another_user_than_the_nodes_is_told_to_be_that_one(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    folder = tmp_path / "data"
    database(folder)
    monkeypatch.setenv("FACENORM_DATA__FOLDER", str(folder))
    # Once beforehand, since what is imported must be readable, too.
    assert CliRunner().invoke(app, ["jobs"]).exit_code == 0
    assert CliRunner().invoke(app, [command[0], "--help"]).exit_code == 0
    with locked_out(folder):
        result = CliRunner().invoke(app, list(command))
        checked = CliRunner().invoke(app, ["config", "check"])
    assert result.exit_code == 1
    assert "be the user that the node runs as" in result.output
    assert not isinstance(checked.exception, PermissionError)
