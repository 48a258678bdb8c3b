"""Work that one process alone may do: whoever holds the lease, until it ends."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from storage.moments import CLOCKS_DIFFER, has_come
from storage.tables import Lease


def hold_lease(
    sessions: sessionmaker[Session], name: str, holder: str, *, now: datetime, seconds: float
) -> bool:
    """Take the lease, or renew it for `seconds`; return whether `holder` has it.

    A holder that dies loses it when its time is over: call this more often than that. One that lasts longer
    than any is given was taken while a clock was wrong, and counts as over.
    """
    lasts = timedelta(seconds=seconds)
    until = now + lasts
    free = or_(Lease.holder == holder, has_come(Lease.until, now, furthest=lasts + CLOCKS_DIFFER))
    with sessions.begin() as session:
        renewed = session.scalars(
            update(Lease)
            .where(Lease.name == name, free)
            .values(holder=holder, until=until)
            .returning(Lease.name)
        ).all()
        if renewed:
            return True
        if session.scalar(select(Lease.holder).where(Lease.name == name)) is not None:
            return False
    try:
        with sessions.begin() as session:
            session.add(Lease(name=name, holder=holder, until=until))
    except IntegrityError:  # another process was quicker
        return False
    return True


def give_up_lease(sessions: sessionmaker[Session], name: str, holder: str) -> None:
    """Let the next process have the lease at once; harmless for one who does not hold it."""
    with sessions.begin() as session:
        session.execute(delete(Lease).where(Lease.name == name, Lease.holder == holder))
