"""A node's folder and database as one archive, and back."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from glob import escape
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from sqlalchemy import make_url
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.data_folder import LOCK_NAME, RESTORING_NAME, FolderInUseError, FolderLock
from dicom_node.settings import DATABASE_FILE, Settings
from storage.audit import Event, add_audit_event
from storage.instances import InstanceStore

_FILE = re.compile(r"[a-z][a-z_]{0,31}/[0-9a-f]{2}/[0-9a-f-]{1,80}\.dcm")
_BUSY_SECONDS = 30


# Of how many files something is done, and how many there are.
Progress = Callable[[int, int], None]


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
    progress: Progress = lambda _done, _of: None,
) -> Contents:
    """Write the archive while a node may run; it is there whole, readable by its owner only, or not at all.

    The database comes first: files are written before the rows that name them, and never changed. The
    queue (`dbos.sqlite`) is left out: what waits in it starts anew from the database. actor: who
    does it, for the audit. progress: called with how many files are in it, and of how many.

    Raises BackupError: the target exists or cannot be written, or the database is none of SQLite's.
    """
    database = _sqlite_file(settings)
    if not target.name:  # of the root, and of the working folder, which an empty name stands for
        raise BackupError(f"{target} is a folder; name the file to write")
    # Plainly named, for who looks at the disk after a kill; the next backup to the same file replaces it.
    partial = target.with_name(f"{target.name}.partial")
    try:
        with _alone(partial) as file:
            try:
                if target.exists():
                    raise BackupError(f"{target} exists; name another file")
                with sessions.begin() as session:
                    add_audit_event(session, Event.EXPORTED, at=now(), actor=actor, outcome="backup")
                contents = _write(file, partial, database, settings, progress)
                partial.rename(target)
            finally:
                partial.unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"{target} cannot be written: {type(error).__name__}: {error}") from None
    return contents


@contextmanager
def _alone(partial: Path) -> Iterator[BinaryIO]:
    """Open the file, readable by its owner only, which nobody else writes meanwhile."""
    flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(partial, flags, 0o600), "wb") as file:
        free = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = False
        except OSError:
            pass  # a network share without locks
        # One that ended just now has renamed the file.
        if not (free and partial.exists() and os.path.samestat(os.fstat(file.fileno()), partial.stat())):
            raise BackupError(f"another backup writes {partial} just now")
        os.fchmod(file.fileno(), 0o600)  # it may have been there, made by whomever
        yield file


def _write(file: BinaryIO, partial: Path, database: Path, settings: Settings, progress: Progress) -> Contents:
    """Write the archive in the place of what a killed backup left in the file, `partial`, and beside it."""
    file.truncate()
    prefix = f"{partial.name}-database-"
    for left in partial.parent.glob(f"{escape(prefix)}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=partial.parent) as folder:
        copy = Path(folder) / DATABASE_FILE
        _copy_database(database, copy)
        with tarfile.open(fileobj=file, mode="w") as archive:
            contents = _fill(archive, copy, settings, progress)
        file.flush()
        os.fsync(file.fileno())
    return contents


def restore_backup(
    settings: Settings, source: Path, progress: Progress = lambda _done, _of: None
) -> Contents:
    """Unpack an archive into the data folder, which must be empty or absent, and the database's place.

    progress: as of `write_backup`. Raises BackupError: there is something already, or the archive cannot be
    read or is none of ours.
    """
    database = _sqlite_file(settings)
    folder = settings.data.folder
    try:
        with tarfile.open(source) as archive:
            members = archive.getmembers()
            if not members or members[0].name != DATABASE_FILE:
                raise BackupError(f"{source} is no backup of facenorm's")
            if not all(member.isfile() and _expected(member.name) for member in members):
                raise BackupError(f"{source} holds what no backup does; nothing was unpacked")
            _refuse_what_is_there(folder, database, {member.name for member in members})
            lock = FolderLock(folder)
            try:
                _unpack(archive, _told(members, progress), folder, database)
            finally:
                lock.release()
    except FolderInUseError as error:
        raise BackupError(str(error)) from None
    except (OSError, tarfile.TarError) as error:
        raise BackupError(f"{source} cannot be restored: {type(error).__name__}: {error}") from None
    return Contents(len(members) - 1, sum(member.size for member in members))


def _refuse_what_is_there(folder: Path, database: Path, names: Collection[str]) -> None:
    """Raise BackupError; names: files of the archive, some of which a killed restore may have moved."""
    there = [path for path in folder.iterdir() if path.name != LOCK_NAME] if folder.exists() else []
    killed = folder / RESTORING_NAME in there
    if not all(path.name == RESTORING_NAME or (killed and _holds_no_other(path, names)) for path in there):
        raise BackupError(f"{folder} is not empty; restore into a new data.folder")
    # What a log beside it holds, SQLite would take for the restored database's.
    if any(path.exists() for path in (database, database.with_name(f"{database.name}-wal"))):
        raise BackupError(f"{database} is a database already; restore to another data.database_url")


def _holds_no_other(kind: Path, names: Collection[str]) -> bool:
    """Whether it is a folder whose files have these names, which tell what is in them."""
    files = (path for path in kind.rglob("*") if not path.is_dir())
    return kind.is_dir() and all(str(path.relative_to(kind.parent)) in names for path in files)


def _told(members: Sequence[tarfile.TarInfo], progress: Progress) -> Iterator[tarfile.TarInfo]:
    for done, member in enumerate(members):
        progress(done, len(members))
        yield member
    progress(len(members), len(members))


def _unpack(
    archive: tarfile.TarFile, members: Iterable[tarfile.TarInfo], folder: Path, database: Path
) -> None:
    """Unpack everything into the folder, which is empty, or leave it empty; database: its place.

    Aside first, and the database last into its place: a node that is started on half a history would take it
    for the whole. What a killed one left aside, or had moved, is replaced.
    """
    aside = folder / RESTORING_NAME
    previous = os.umask(0o077)
    moved: list[Path] = []
    try:
        for kind in [path for path in folder.iterdir() if path.is_dir() and path != aside]:
            shutil.rmtree(kind)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        archive.extractall(aside, members=members, filter="data")
        for kind in [path for path in aside.iterdir() if path.name != DATABASE_FILE]:
            moved.append(kind.rename(folder / kind.name))
        _move(aside / DATABASE_FILE, database)
    except BaseException:
        for path in moved:
            shutil.rmtree(path)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
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


def _fill(archive: tarfile.TarFile, database: Path, settings: Settings, progress: Progress) -> Contents:
    archive.add(database, DATABASE_FILE)
    size, files = database.stat().st_size, 0
    if settings.data.files_url:
        # A bucket of any size has means of its own to be copied.
        return Contents(files, size)
    data = settings.data.folder
    store = InstanceStore(data)
    names = [name for kind in store.kinds() for name in store.files(kind)]
    for done, name in enumerate(names):
        progress(done, len(names))
        try:
            archive.add(data / name, name)
            size += (data / name).stat().st_size
        except FileNotFoundError:  # retention took it away just now
            continue
        files += 1
    progress(len(names), len(names))
    return Contents(files, size)


def _copy_database(source: Path, target: Path) -> None:
    target.touch(mode=0o600)
    # Quoted, for what a '#' or '%' in a folder's name would lead to is another file, and an empty one.
    connection = sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
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
