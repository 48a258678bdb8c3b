"""`facenorm import` and `facenorm migrate`, and what the other commands say of PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect, select, text
from typer.testing import CliRunner, Result

from dicom_node.cli import app
from reports.options import ReportOptions, ResultObject
from storage.database import connect, sessions
from storage.moving import moved_tables
from storage.tables import AuditEvent, Patient
from storage.workers import Scores, beat
from tests.postgresql import PostgresPeer
from tests.small_archive import SmallArchive, photograph


@pytest.fixture
def old(tmp_path: Path) -> Iterator[SmallArchive]:
    """A node's history on SQLite: two encounters, reported, not yet delivered."""
    archive = SmallArchive(tmp_path, options=ReportOptions(objects=frozenset({ResultObject.NORMALIZED})))
    for study in (1, 2):
        archive.receive(photograph(study, brightness=60 * study))
        archive.settle()
    yield archive
    archive.engine.dispose()


@pytest.fixture
def target(postgresql: PostgresPeer) -> Iterator[Engine]:
    engine = connect(postgresql.database())
    yield engine
    engine.dispose()


def _url(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def _run(folder: Path, url: str, *arguments: str | Path) -> Result:
    config = folder / "postgresql.toml"
    config.write_text(f'[data]\nfolder = "{folder / "data"}"\ndatabase_url = "{url}"\n')
    return CliRunner().invoke(app, [*map(str, arguments), "--config", str(config)])


def _everything(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    with engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in moved_tables()
        }


def test_every_row_comes_over_and_new_ones_follow(old: SmallArchive, target: Engine, tmp_path: Path) -> None:
    moved = _run(tmp_path, _url(target), "import", tmp_path / "data")
    assert moved.exit_code == 0, moved.output
    assert "2 photograph\n" in moved.output
    assert "The files stay where they are." in moved.output
    came, were = _everything(target), _everything(old.engine)
    with sessions(target)() as session:
        told = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()[-1]
        rows = sum(len(of) for of in were.values())
        assert (told.event, told.outcome, told.detail["rows"]) == ("imported", "success", rows)
        assert told.actor.startswith("operator")
    assert came.pop("audit_events")[:-1] == were.pop("audit_events")
    assert came == were
    assert all(_everything(target)[name] for name in ("scoring", "artefact", "delivery", "audit_events"))
    checked = _run(tmp_path, _url(target), "check")
    assert (checked.exit_code, "Files and database agree." in checked.output) == (0, True), checked.output
    new = SmallArchive(tmp_path, options=old.options, database_url=_url(target))
    new.now = old.now
    assert new.settle() == 0  # what was reported stays so
    new.receive(photograph(3, brightness=180))
    assert new.settle() == 1
    new.engine.dispose()
    history = json.loads(_run(tmp_path, _url(target), "history", "TEST-1", "--json").output)
    assert len(history) == 3


def test_nothing_is_imported_into_a_database_that_holds_something(
    old: SmallArchive, target: Engine, tmp_path: Path
) -> None:
    assert _run(tmp_path, _url(target), "migrate").exit_code == 0
    with sessions(target).begin() as session:
        session.add(Patient(patient_id="TEST-9"))
    refused = _run(tmp_path, _url(target), "import", tmp_path / "data")
    assert refused.exit_code == 1
    assert "not empty (1 in patient); nothing was imported" in refused.output
    assert len(_everything(target)["patient"]) == 1
    assert not _everything(target)["photograph"]


def test_an_import_that_breaks_off_leaves_nothing(old: SmallArchive, target: Engine, tmp_path: Path) -> None:
    with old.engine.begin() as connection:
        # SQLite takes what is too long for its column.
        connection.execute(text("UPDATE delivery SET destination = '12345678901234567'"))
    failed = _run(tmp_path, _url(target), "import", tmp_path / "data")
    assert (failed.exit_code, failed.output) == (1, "nothing was imported (DataError)\n")
    assert not any(_everything(target).values())


def test_the_place_of_the_files_is_told_where_it_is_another(
    old: SmallArchive, target: Engine, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = _run(tmp_path / "elsewhere", _url(target), "import", tmp_path / "data")
    assert moved.exit_code == 0
    assert f"bring everything in {tmp_path / 'data'}" in moved.output


def test_imports_that_make_no_sense_are_refused(tmp_path: Path, postgresql: PostgresPeer) -> None:
    assert "names no PostgreSQL database" in _run(tmp_path, "", "import", tmp_path).output
    assert "there is no database" in _run(tmp_path, postgresql.database(), "import", tmp_path).output


def test_migrate_says_what_it_did(postgresql: PostgresPeer, tmp_path: Path) -> None:
    url = postgresql.database()
    first, second = _run(tmp_path, url, "migrate"), _run(tmp_path, url, "migrate")
    assert first.output.startswith("The tables were upgraded from revision none to ")
    assert second.output.startswith("The tables are up to date: revision ")
    assert "The queue's tables are up to date." in second.output
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    assert inspect(engine).has_table("workflow_status", schema="dbos")
    engine.dispose()
    assert "it was made" in _run(tmp_path, "", "migrate").output
    assert (tmp_path / "data" / "facenorm.sqlite").exists()


def test_a_newer_database_is_refused(target: Engine, tmp_path: Path) -> None:
    assert _run(tmp_path, _url(target), "migrate").exit_code == 0
    with target.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'of_tomorrow'"))
    refused = _run(tmp_path, _url(target), "migrate")
    assert (refused.exit_code, "newer facenorm" in refused.output) == (1, True)


def test_nothing_is_repaired_while_workers_live(target: Engine, tmp_path: Path) -> None:
    assert _run(tmp_path, _url(target), "migrate").exit_code == 0
    with sessions(target).begin() as session:
        beat(session, "worker", Scores("2-x", "0" * 64), now=datetime.now(UTC))
    refused = _run(tmp_path, _url(target), "check", "--repair")
    assert (refused.exit_code, "1 workers live" in refused.output) == (1, True), refused.output
    assert _run(tmp_path, _url(target), "check").exit_code == 0


def test_backups_are_left_to_postgresql_itself(postgresql: PostgresPeer, tmp_path: Path) -> None:
    for command in ("backup", "restore"):
        refused = _run(tmp_path, postgresql.database(), command, tmp_path / "backup.tar")
        assert (refused.exit_code, "use pg_dump" in refused.output) == (1, True), refused.output


def test_a_server_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://someone:a-secret@127.0.0.1:1/facenorm"
    refused = _run(tmp_path, url, "jobs")
    assert refused.exit_code == 1
    assert "a-secret" not in refused.output
    assert "check data.database_url" in refused.output
