"""Moments that work waits for, also where they were written while a clock was wrong."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_
from sqlalchemy.orm import InstrumentedAttribute

CLOCKS_DIFFER = timedelta(hours=1)
"""By less than this, among machines that share a database."""

# No setting puts anything off for longer than two weeks.
_FURTHEST = timedelta(days=15)


def has_come(
    moment: InstrumentedAttribute[datetime], now: datetime, *, furthest: timedelta = _FURTHEST
) -> ColumnElement[bool]:
    """Return the condition that the moment in this column has come.

    One that is further ahead than `furthest` was written by a clock that has been set back since: waiting
    for it could take years.
    """
    return or_(moment <= now, moment > now + furthest)
