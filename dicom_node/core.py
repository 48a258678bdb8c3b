"""What every process of the service stands on: the database, and the place of the files."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.settings import Settings
from dicom_node.settings_sections import Data
from storage.database import UnusableDatabaseError, is_postgresql, open_database, sessions
from storage.file_cache import FileCache
from storage.file_store import FileStore
from storage.instances import InstanceStore
from storage.objects import Bucket, ObjectStore, ask, bucket_and_prefix


class NodeError(Exception):
    """The process cannot run; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Core:
    """Database and files, open; `close` lets go of the database."""

    engine: Engine
    sessions: sessionmaker[Session]
    store: FileStore

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.engine.dispose()

    def database_trouble(self) -> str | None:
        """Return None when the database answers; raises SQLAlchemyError when it does not."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        return None


def refuse_unscored(settings: Settings, *, scores: bool) -> None:
    """Raise NodeError for a node that nobody could score for; scores: whether it does so itself.

    To be asked before anything listens: what such a node took in would wait there without a word.
    """
    if not scores and not is_postgresql(settings.database_url):
        raise NodeError("a node that does not score needs PostgreSQL, which its workers share")
    if scores and settings.scoring.on_device_fault == "hand_back":
        raise NodeError(
            "scoring.on_device_fault: only `facenorm worker` can hand back what its GPU cannot do; "
            'choose "cpu", or let workers score alone with --no-score'
        )


def open_core(settings: Settings) -> Core:
    """Open both, the tables brought up to date. Raises NodeError."""
    try:
        engine = open_database(settings.database_url)
    except UnusableDatabaseError as error:
        raise NodeError(str(error)) from None
    try:
        return Core(engine, sessions(engine), open_store(settings))
    except NodeError:
        engine.dispose()
        raise


def open_store(settings: Settings) -> FileStore:
    """Open the place of the files: the data folder, or the bucket that was set. Raises NodeError."""
    data = settings.data
    try:
        local = InstanceStore(data.folder)
        copies = local.folder / "cache"
        if not data.files_url:
            if copies.is_dir():  # from when the files lay in a bucket; nothing else would ever remove them
                FileCache(copies, most_bytes=0)
            return local
        cache = FileCache(copies, most_bytes=data.cache_megabytes * 1_000_000)
    except OSError as error:
        raise NodeError(f"the data folder {data.folder}: {error.strerror}") from None
    try:
        return ObjectStore(_bucket(data), cache)
    except OSError as error:
        raise NodeError(_why_no_bucket(data, error)) from None


def bucket_trouble(settings: Settings) -> str | None:
    """Return what keeps a process from the bucket that was set, or None; nothing is written."""
    if not settings.data.files_url:
        return None
    try:
        ask(_bucket(settings.data))
    except OSError as error:
        return _why_no_bucket(settings.data, error)
    return None


def _bucket(data: Data) -> Bucket:
    name, prefix = bucket_and_prefix(data.files_url)
    return Bucket(
        name=name,
        prefix=prefix,
        endpoint=data.files_endpoint,
        region=data.files_region,
        timeout_seconds=data.files_timeout_seconds,
    )


def _why_no_bucket(data: Data, error: OSError) -> str:
    return (
        f"the object storage {data.files_url} cannot be used: {error.strerror}; does it run, does the "
        "bucket exist? See to data.files_url, data.files_endpoint, data.files_region, the credentials "
        "in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
    )


def why_not_bound(section: str, host: str, port: int, error: OSError, *, named: str = "") -> str:
    """Return why nothing can listen there, and what to do. named: what the port comes from, not a key."""
    key = named or f"{section}.port"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken; set another {key}, or stop what listens there"
    return f"cannot listen on {host}, port {port}: {error.strerror}; set {section}.host and {key}"
