"""What every process on a shared PostgreSQL has: the queue, and the look at absent workers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from dbos import error as dbos_error
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.absent_workers import AbsentWorkers
from dicom_node.chores import Chore
from dicom_node.core import Core, NodeError
from dicom_node.queue_place import why_no_queue
from dicom_node.settings import Settings
from dicom_node.shared_queue import SharedQueue
from dicom_node.stored_queue import prepare_queue


def open_shared_queue(settings: Settings) -> SharedQueue:
    """Return the queue in the PostgreSQL of the settings, its tables up to date. Raises NodeError."""
    try:
        prepare_queue(settings.database_url)
        return SharedQueue(settings.database_url)
    except (SQLAlchemyError, dbos_error.DBOSException, OSError) as error:
        raise NodeError(why_no_queue(settings, error)) from None


def absent_workers(
    settings: Settings, core: Core, queue: SharedQueue, *, clock: Callable[[], datetime], holder: str
) -> AbsentWorkers:
    """Return the look at absent workers as the settings want it."""
    return AbsentWorkers(
        sessions=core.sessions,
        queue=queue,
        clock=clock,
        holder=holder,
        turn_seconds=settings.workers.beat_seconds,
        gone_seconds=settings.workers.gone_seconds,
    )


def look_after(settings: Settings, workers: AbsentWorkers) -> dict[str, Chore]:
    """Return the chore that looks."""
    return {"workers": (settings.workers.beat_seconds, workers.turn)}
