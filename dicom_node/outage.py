"""A database or bucket that is away for a while: what was computed waits, and is not computed again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from storage.file_store import UnreachableError

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)

# A restart takes seconds, a failover a minute or two.
LONGEST_SECONDS = 600.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0


class LongOutageError(Exception):
    """It has been waited for, long enough; whoever waits around it shall not begin anew."""


def is_outage(error: BaseException) -> bool:
    """Whether PostgreSQL or the bucket could not be reached, or cut us off; another try may go well."""
    if isinstance(error, UnreachableError):
        return True
    if not isinstance(error, DBAPIError) or not type(error.orig).__module__.startswith("psycopg"):
        return False
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def outlast(
    transaction: Callable[[], _T],
    *,
    seconds: float = LONGEST_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> _T:
    """Return what `transaction` returns; while database or bucket is away, try again for up to `seconds`.

    A commit whose answer was lost may have taken effect: the transaction must notice that it has.

    Raises LongOutageError after an outage of more than that, and at once what else `transaction` raises.
    """
    pause, until = _FIRST_PAUSE_SECONDS, clock() + seconds
    while True:
        try:
            return transaction()
        except (DBAPIError, UnreachableError) as error:
            if not is_outage(error):
                raise
            if clock() >= until:
                raise LongOutageError from None
            if isinstance(error, UnreachableError):
                _log.warning("waiting for object storage", error=type(error).__name__)
            else:
                _log.warning("waiting for the database", error=type(error.orig).__name__)
        sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
