"""A PostgreSQL of a bench's own, which syncs as one with patients in it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from storage.database import open_database


@contextmanager
def durable_postgresql() -> Iterator[str]:
    """Run a server until the end of the block; gives the URL of a database with empty tables."""
    # Not above: a server for tests, which an installation has not.
    from tests.postgresql import running_postgresql

    with running_postgresql() as server:
        url = server.database()
        engine = open_database(url)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(text(f"ALTER SYSTEM SET {setting} = on"))
            connection.execute(text("SELECT pg_reload_conf()"))
        engine.dispose()
        yield url
