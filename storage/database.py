"""Open the database and bring its tables up to date."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

MIGRATIONS = Path(__file__).parent / "migrations"

_BUSY_SECONDS = 30
_STATEMENT_SECONDS = 300
# As libpq has them: a server that does not answer, or is gone without a word, is left within a minute.
_LIMITS = {
    "connect_timeout": "10",
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
_RECYCLE_SECONDS = 1800
# Any fixed number that no other program on the same PostgreSQL database uses.
_MIGRATION_LOCK = 0x6661_6365
# The execution option of a connection that will not write.
_READS = "facenorm_reads"


class UnusableDatabaseError(Exception):
    """The database cannot be used; the text says what to do, and holds nothing of the URL."""


def open_database(url: str) -> Engine:
    """Return an engine for `url` (see `connect`) whose tables are up to date.

    Raises UnusableDatabaseError, whatever the cause.
    """
    return _migrated(url)[0]


def migrate_database(url: str) -> tuple[str | None, str | None]:
    """Upgrade the tables at `url`; return the revision before, None without tables, and the one after.

    Raises UnusableDatabaseError, whatever the cause.
    """
    engine, revisions = _migrated(url)
    engine.dispose()
    return revisions


def _migrated(url: str) -> tuple[Engine, tuple[str | None, str | None]]:
    try:
        engine = connect(url)
        try:
            revisions = migrate(engine)
        except BaseException:
            engine.dispose()
            raise
    except CommandError:
        raise UnusableDatabaseError("the database is of a newer facenorm; run that version") from None
    except PermissionError:
        raise UnusableDatabaseError(
            "this user may not open the database; be the user that the node runs as, or check data.folder"
        ) from None
    except (SQLAlchemyError, OSError, ValueError, ImportError) as error:
        raise UnusableDatabaseError(
            f"the database cannot be used ({type(error).__name__}); check data.database_url"
        ) from None
    return engine, revisions


def is_postgresql(url: str) -> bool:
    """Whether `url` is of a PostgreSQL database, which several processes on several machines may share."""
    try:
        return make_url(url).get_backend_name() == "postgresql"
    except ArgumentError:
        return False


def postgresql_url(url: str) -> str:
    """Return the URL with the time limits that it does not set itself, for another user of the database."""
    return _within_limits(make_url(url)).set(drivername="postgresql").render_as_string(hide_password=False)


def missing_file(url: str) -> Path | None:
    """Return the SQLite file that `url` names where there is none yet; None for any other URL.

    None too where this user may not look: opening it tells why.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    path = _sqlite_file(parsed) if parsed.get_backend_name() == "sqlite" else None
    try:
        return path if path and not path.exists() else None
    except PermissionError:
        return None


def connect(url: str) -> Engine:
    """Return an engine for a `sqlite:///path` or `postgresql://...` URL.

    SQLite gets write-ahead logging, foreign keys, full synchronisation and a busy timeout of 30 s,
    and its file is readable by the owner only. Every SQLite transaction but those of `reading` takes the
    write lock at its start, because one that reads first and writes later fails at once when another
    writer came between: keep transactions short, and never compute inside one.

    Error texts of the engine hold no parameters, since these may identify patients.

    Raises:
        sqlalchemy.exc.ArgumentError: the URL cannot be understood.
        ValueError: the URL is of a database that is neither SQLite nor PostgreSQL.

    """
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _connect_sqlite(parsed)
    if backend == "postgresql":
        return _connect_postgresql(parsed)
    raise ValueError(f"the database must be SQLite or PostgreSQL, not {backend}")


def migrate(engine: Engine) -> tuple[str | None, str | None]:
    """Upgrade the database to the newest revision; safe when several processes start at once.

    Returns the revision before and the one after; None for a database without tables.

    One transaction holds both the lock and all the revisions, so a killed process leaves nothing
    half done and no lock behind.

    Raises:
        sqlalchemy.exc.OperationalError: the database cannot be reached, or stayed locked.
        alembic.util.CommandError: the database is of a newer version than this software.

    """
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = '{_BUSY_SECONDS}s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config = Config()
        # A '%' in the path would be read as interpolation.
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        before = _revision(connection)
        command.upgrade(config, "head")
        return before, _revision(connection)


def sessions(engine: Engine) -> sessionmaker[Session]:
    """Return a maker of sessions whose objects stay readable after the commit."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def reading(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """Give a session that reads, and on SQLite keeps nobody from writing meanwhile. Write nothing in it.

    Keep it short all the same: PostgreSQL ends one that is idle, and SQLite's log grows as long as it lasts.
    """
    with sessions() as session:
        session.connection(execution_options={_READS: True})
        yield session


def empty_log(sessions: sessionmaker[Session]) -> None:
    """Empty SQLite's log, in which what was deleted stands until it is written over; nothing on PostgreSQL.

    Who reads for longer than 30 s meanwhile, or a full disk, keeps the log as it is.
    """
    with sessions() as session:
        engine = session.get_bind()
    if isinstance(engine, Engine) and engine.dialect.name == "sqlite":
        # Not through SQLAlchemy, which would begin a transaction: in one the log cannot be emptied.
        with suppress(sqlite3.Error), closing(engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _within_limits(url: URL) -> URL:
    return url.update_query_dict({key: limit for key, limit in _LIMITS.items() if key not in url.query})


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _connect_postgresql(url: URL) -> Engine:
    return create_engine(
        _within_limits(url).set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        # A connection that a restart of the server has closed is replaced, not handed out.
        pool_pre_ping=True,
        pool_recycle=_RECYCLE_SECONDS,
        connect_args={
            "application_name": "facenorm",
            "options": f"-c statement_timeout={_STATEMENT_SECONDS}s"
            f" -c lock_timeout={_BUSY_SECONDS}s -c idle_in_transaction_session_timeout={_STATEMENT_SECONDS}s",
        },
    )


def _connect_sqlite(url: URL) -> Engine:
    path = _sqlite_file(url)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite gives its -wal and -shm files the permissions of this one.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": _BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def _sqlite_file(url: URL) -> Path | None:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return None
    return Path(url.database)


def _prepare_sqlite(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: it would do so late, and never for DDL.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    _set_write_ahead_log(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # Not every build does so by itself: without it, what was erased stays readable in the file.
    connection.execute("PRAGMA secure_delete = ON")


def _set_write_ahead_log(connection: sqlite3.Connection) -> None:
    # Two processes that switch the mode at once: SQLite answers "locked" without waiting.
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
