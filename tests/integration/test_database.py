from __future__ import annotations

import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, delete, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from storage.database import MIGRATIONS, connect, migrate, postgresql_url, reading, sessions
from storage.intake import Outcome
from storage.tables import AuditEvent, Base, Encounter, Patient
from tests.integration.running_node import wait_until
from tests.postgresql import PostgresPeer
from tests.small_archive import SmallArchive, photograph
from tests.unit.rows import database, write_beside


def _newest() -> str:
    return str(ScriptDirectory(str(MIGRATIONS)).get_current_head())


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A database of each kind."""
    engine = connect(database_url)
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{tmp_path / 'folder' / 'facenorm.sqlite'}")
    migrate(engine)
    yield engine
    engine.dispose()


def test_migrations_and_tables_agree(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).all() == [(_newest(),)]


def test_sqlite_is_opened_for_durability(sqlite: Engine) -> None:
    with sqlite.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_the_sqlite_file_is_for_its_owner_only(sqlite: Engine) -> None:
    path = Path(str(sqlite.url.database))
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_times_come_back_in_utc(engine: Engine) -> None:
    tokyo = datetime(2026, 3, 1, 9, 30, 0, 123456, tzinfo=timezone(timedelta(hours=9)))
    with sessions(engine).begin() as session:
        session.add(AuditEvent(at=tokyo, event="test", outcome="", actor="", detail={}))
    with sessions(engine)() as session:
        at = session.scalars(select(AuditEvent.at)).one()
    assert at == tokyo
    assert at.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(engine: Engine) -> None:
    with pytest.raises(StatementError, match="time zone"), sessions(engine).begin() as session:
        session.add(AuditEvent(at=datetime(2026, 3, 1), event="test"))


def test_an_encounter_needs_its_patient_and_errors_hold_no_parameters(engine: Engine) -> None:
    with pytest.raises(IntegrityError) as caught, sessions(engine).begin() as session:
        session.add(
            Encounter(
                patient_pk=99,
                study_instance_uid="2.25.1",
                accession_number="ACCESSION-1",
                last_received_at=datetime.now(UTC),
            )
        )
    assert "ACCESSION-1" not in str(caught.value)


def test_a_reader_that_then_writes_waits_for_the_other_writer(engine: Engine) -> None:
    """Two such transactions at once would end one of them with "database is locked"."""
    script = (
        "import sys; from storage.database import connect, sessions; from storage.tables import Patient\n"
        "from sqlalchemy import func, select\n"
        "make = sessions(connect(sys.argv[1]))\n"
        "for number in range(40):\n"
        "    with make.begin() as session:\n"
        "        session.scalar(select(func.count()).select_from(Patient))\n"
        "        session.add(Patient(patient_id=f'{sys.argv[2]}-{number}'))\n"
    )
    url = engine.url.render_as_string(hide_password=False)
    writers = [subprocess.Popen([sys.executable, "-c", script, url, name]) for name in ("A", "B")]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    with sessions(engine)() as session:
        assert len(session.scalars(select(Patient)).all()) == 80


def test_who_reads_keeps_nobody_from_writing_and_sees_one_state(tmp_path: Path) -> None:
    rows = database(tmp_path)
    with rows.begin() as session:
        session.add(Patient(patient_id="TEST-1"))
    with reading(rows) as session:
        assert session.scalars(select(Patient.patient_id)).all() == ["TEST-1"]
        write_beside(tmp_path)
        with rows.begin() as other:
            other.add(Patient(patient_id="TEST-2"))
        assert session.scalars(select(Patient.patient_id)).all() == ["TEST-1"]
    # The same connection, handed out again, takes the lock at its start.
    with rows() as session, pytest.raises(sqlite3.OperationalError, match="locked"):
        session.scalars(select(Patient.patient_id)).all()
        write_beside(tmp_path)


def test_the_servers_log_does_not_name_a_patient_whom_two_associations_bring_at_once(
    tmp_path: Path, postgresql: PostgresPeer
) -> None:
    archive = SmallArchive(tmp_path, database_url=postgresql.database())
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    looking = archive.engine.execution_options(isolation_level="AUTOCOMMIT")
    with ThreadPoolExecutor() as other, archive.sessions() as session, looking.connect() as look:
        session.add(Patient(patient_id="TEST-BROUGHT-TWICE", issuer_of_patient_id="TEST-ISSUER"))
        session.flush()
        brought = photograph(1, PatientID="TEST-BROUGHT-TWICE", IssuerOfPatientID="TEST-ISSUER")
        received = other.submit(archive.receive, brought)
        wait_until(lambda: look.scalar(waiting), 20, "the other association to wait")
        session.commit()
        assert received.result() is Outcome.STORED
    with archive.sessions() as session:
        assert len(session.scalars(select(Patient)).all()) == 1
    assert "TEST-BROUGHT-TWICE" not in (postgresql.server.pgdata / "log").read_text()
    archive.engine.dispose()


def test_two_processes_may_migrate_at_once(database_url: str) -> None:
    url = database_url
    script = "import sys; from storage.database import connect, migrate; migrate(connect(sys.argv[1]))"
    processes = [
        subprocess.Popen([sys.executable, "-c", script, url], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    results = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert results == [("", 0)] * 4
    engine = connect(url)
    assert set(Base.metadata.tables) < set(inspect(engine).get_table_names())
    engine.dispose()


def test_a_revision_that_fails_leaves_nothing_behind(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "migrations"
    shutil.copytree(Path("storage/migrations"), broken, ignore=shutil.ignore_patterns("__pycache__"))
    (broken / "versions" / "broken.py").write_text(
        f"from alembic import op\nrevision = 'broken'\ndown_revision = '{_newest()}'\n"
        "def upgrade():\n    op.execute('CREATE TABLE half (id INTEGER)')\n    raise RuntimeError('broken')\n"
    )
    monkeypatch.setattr("storage.database.MIGRATIONS", broken)
    engine = connect(database_url)
    with pytest.raises(RuntimeError, match="broken"):
        migrate(engine)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_database_of_before_gives_the_key_of_an_erased_row_to_no_other(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'facenorm.sqlite'}")
    before = Config()
    before.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        before.attributes["connection"] = connection
        command.upgrade(before, "large_archives")
        connection.execute(insert(Patient), [{"patient_id": f"TEST-{number}"} for number in (1, 2)])
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(delete(Patient).where(Patient.id == 2))
        connection.execute(insert(Patient).values(patient_id="TEST-3"))
        assert connection.execute(select(Patient.id, Patient.patient_id).order_by(Patient.id)).all() == [
            (1, "TEST-1"), (3, "TEST-3"),
        ]  # fmt: skip
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    engine.dispose()


def test_time_limits_hold_unless_the_url_sets_its_own() -> None:
    url = postgresql_url("postgresql+psycopg://someone:secret@db/facenorm?connect_timeout=3&sslmode=require")
    assert url.startswith("postgresql://someone:secret@db/facenorm?")
    for part in ("connect_timeout=3", "sslmode=require", "keepalives_idle=20", "tcp_user_timeout=60000"):
        assert part in url


def test_other_databases_are_refused() -> None:
    with pytest.raises(ValueError, match="SQLite or PostgreSQL"):
        connect("mysql://example/facenorm")
