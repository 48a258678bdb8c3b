"""How many rows there are in a table that grows for ever, at the cost of those that are new."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import func, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

# A transaction that got its key earlier may commit later, though not by so many rows.
_UNSETTLED_ROWS = 10_000
# What was erased is taken off then.
_ANEW = timedelta(hours=1)


class Tally:
    """Remembers how many rows there were up to some key, and counts the ones after it.

    Exact for rows that are added. One that is removed, which only erasing a patient does, is counted for up
    to an hour more: then all are counted anew.
    """

    def __init__(
        self,
        key: InstrumentedAttribute[int],
        group: InstrumentedAttribute[str] | None = None,
        *,
        clock: Callable[[], datetime],
        unsettled_rows: int = _UNSETTLED_ROWS,
    ) -> None:
        """key: the table's primary key, which grows. group: a column whose value a row never changes."""
        self._key, self._group, self._clock = key, group, clock
        self._unsettled_rows = unsettled_rows
        self._lock = threading.Lock()
        self._began: datetime | None = None
        self._settled: Counter[str] = Counter()
        self._settled_to = 0

    def count(self, session: Session) -> Counter[str]:
        """Return value of the group -> number of rows; under "" where there is no group."""
        with self._lock:
            now = self._clock()
            if self._began is None or now - self._began >= _ANEW:
                self._began, self._settled, self._settled_to = now, Counter(), 0
            newest = session.scalar(select(func.max(self._key))) or 0
            if newest - self._settled_to > 2 * self._unsettled_rows:
                end = newest - self._unsettled_rows
                self._settled += self._between(session, self._settled_to, end)
                self._settled_to = end
            return self._settled + self._between(session, self._settled_to, None)

    def _between(self, session: Session, after: int, end: int | None) -> Counter[str]:
        group = literal("") if self._group is None else self._group
        query = select(group, func.count()).where(self._key > after)
        if end is not None:
            query = query.where(self._key <= end)
        if self._group is not None:
            query = query.group_by(self._group)
        return Counter({row[0]: row[1] for row in session.execute(query)})
