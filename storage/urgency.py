"""How soon a study is to be scored: today's clinic before what was imported, fetched or asked for anew."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum

from storage.encounter_scores import EARLIEST_DATE

# A camera's clock and ours may be of different zones.
_DAY = timedelta(days=1)


class Urgency(IntEnum):
    """The lower, the sooner; equal ones in the order in which they came."""

    TODAY = 1
    UNDATED = 2
    EARLIER = 3


def urgency(study_date: str, *, reopened: int, now: datetime) -> Urgency:
    """Return that of a study by its date (YYYYMMDD or ''), and by how often it was asked for anew."""
    if reopened:
        return Urgency.EARLIER
    if study_date < EARLIEST_DATE:
        return Urgency.UNDATED
    return Urgency.TODAY if study_date >= f"{now - _DAY:%Y%m%d}" else Urgency.EARLIER
