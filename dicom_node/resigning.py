"""Giving a lease up at the end of a process, which must end in order also while the database is away."""

from __future__ import annotations

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from storage.leases import give_up_lease

_log = structlog.get_logger(__name__)


def resign(sessions: sessionmaker[Session], lease: str, holder: str) -> None:
    """Let another process be elected at once; in its own time where the database is away."""
    try:
        give_up_lease(sessions, lease, holder)
    except SQLAlchemyError as error:
        _log.warning("could not resign", error=type(error).__name__)
