"""Where the queue of studies is kept: a file in the data folder, or the PostgreSQL of the settings."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.settings import Settings
from dicom_node.stored_queue import system_database
from storage.database import connect, is_postgresql

_SCHEMA = "dbos"


def queue_place(settings: Settings) -> Path | str:
    """Return the SQLite file or the URL, whether there is a queue already or not."""
    if is_postgresql(settings.database_url):
        return settings.database_url
    return system_database(settings.data.folder)


def why_no_queue(settings: Settings, error: Exception) -> str:
    """Return why a process ends that cannot open the queue, and what to do."""
    place, kind = queue_place(settings), type(error).__name__
    if isinstance(place, Path):
        return (
            f"the queue {place} cannot be used ({kind}); look at permissions and disk, or move it away: "
            "what waited in it starts anew from the database"
        )
    return f"the queue cannot be used ({kind}); check data.database_url"


def existing_queue(settings: Settings) -> Path | str | None:
    """Return the same, None where no node has made the queue yet, or the database cannot be reached."""
    place = queue_place(settings)
    if isinstance(place, Path):
        return place if place.exists() else None
    engine = connect(place)
    try:
        return place if inspect(engine).has_schema(_SCHEMA) else None
    except SQLAlchemyError:
        return None
    finally:
        engine.dispose()
