"""A node's folder and database as one archive, and back."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.settings import DATABASE_FILE, Settings
from storage.audit import Event, add_audit_event
from storage.instances import InstanceStore

_FILE = re.compile(r"[a-z][a-z_]{0,31}/[0-9a-f]{2}/[0-9a-f-]{1,80}\.dcm")
_BUSY_SECONDS = 30


class BackupError(Exception):
    """A backup cannot be made or restored; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What an archive holds."""

    files: int
    size_bytes: int


def write_backup(
    settings: Settings,
    target: Path,
    sessions: sessionmaker[Session],
    now: Callable[[], datetime],
    actor: str,
) -> Contents:
    """Write the archive while a node may run; it is there whole, readable by its owner only, or not at all.

    The database comes first: files are written before the rows that name them, and never changed. The
    queue (`dbos.sqlite`) is left out: what waits in it starts anew from the database. actor: who
    does it, for the audit.

    Raises BackupError: the target exists or cannot be written, or the database is none of SQLite's.
    """
    database = _sqlite_file(settings)
    if target.exists():
        raise BackupError(f"{target} exists; name another file")
    with sessions.begin() as session:
        add_audit_event(session, Event.EXPORTED, at=now(), actor=actor, outcome="backup")
    partial = target.with_name(f".{target.name}.partial")
    try:
        with tempfile.TemporaryDirectory(prefix=".facenorm-", dir=target.parent) as folder:
            copy = Path(folder) / DATABASE_FILE
            _copy_database(database, copy)
            with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                with tarfile.open(fileobj=file, mode="w") as archive:
                    contents = _fill(archive, copy, settings)
                file.flush()
                os.fsync(file.fileno())
        partial.rename(target)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"{target} cannot be written: {type(error).__name__}: {error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return contents


def restore_backup(settings: Settings, source: Path) -> Contents:
    """Unpack an archive into the data folder, which must be empty or absent, and the database's place.

    Raises BackupError: there is something already, or the archive cannot be read or is none of ours.
    """
    database = _sqlite_file(settings)
    folder = settings.data.folder
    try:
        if folder.exists() and any(folder.iterdir()):
            raise BackupError(f"{folder} is not empty; restore into a new data.folder")
        # What a log beside it holds, SQLite would take for the restored database's.
        if any(path.exists() for path in (database, database.with_name(f"{database.name}-wal"))):
            raise BackupError(f"{database} is a database already; restore to another data.database_url")
        with tarfile.open(source) as archive:
            members = archive.getmembers()
            if not members or members[0].name != DATABASE_FILE:
                raise BackupError(f"{source} is no backup of facenorm's")
            if not all(member.isfile() and _expected(member.name) for member in members):
                raise BackupError(f"{source} holds what no backup does; nothing was unpacked")
            _unpack(archive, members, folder, database)
    except (OSError, tarfile.TarError) as error:
        raise BackupError(f"{source} cannot be restored: {type(error).__name__}: {error}") from None
    return Contents(len(members) - 1, sum(member.size for member in members))


def _unpack(archive: tarfile.TarFile, members: list[tarfile.TarInfo], folder: Path, database: Path) -> None:
    """Unpack everything into the folder, which is empty or absent, or leave it empty; database: its place."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    previous = os.umask(0o077)
    try:
        archive.extractall(folder, members=members, filter="data")
        if database.absolute() != (folder / DATABASE_FILE).absolute():
            _move(folder / DATABASE_FILE, database)
    except BaseException:
        # A node that is started on half a history would take it for the whole.
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
    finally:
        os.umask(previous)


def _move(source: Path, target: Path) -> None:
    """Move a file, to another disk too; at `target` it is there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = target.with_name(f"{target.name}.partial")
    try:
        shutil.move(source, partial)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


def _fill(archive: tarfile.TarFile, database: Path, settings: Settings) -> Contents:
    archive.add(database, DATABASE_FILE)
    size, files = database.stat().st_size, 0
    if settings.data.files_url:
        # A bucket of any size has means of its own to be copied.
        return Contents(files, size)
    data = settings.data.folder
    store = InstanceStore(data)
    for kind in store.kinds():
        for name in store.files(kind):
            try:
                archive.add(data / name, name)
                size += (data / name).stat().st_size
            except FileNotFoundError:  # retention took it away just now
                continue
            files += 1
    return Contents(files, size)


def _copy_database(source: Path, target: Path) -> None:
    target.touch(mode=0o600)
    connection = sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
    copy = sqlite3.connect(target)
    try:
        connection.backup(copy)
    finally:
        copy.close()
        connection.close()


def _expected(name: str) -> bool:
    return name == DATABASE_FILE or _FILE.fullmatch(name) is not None


def _sqlite_file(settings: Settings) -> Path:
    url = make_url(settings.database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise BackupError("the database is PostgreSQL: use pg_dump, then copy the data folder or the bucket")
    return Path(url.database)
