"""Today's clinic comes first."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from storage.urgency import Urgency, urgency

NOW = datetime(2026, 6, 1, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("study_date", "reopened", "expected"),
    [
        ("20260601", 0, Urgency.TODAY),
        ("20260531", 0, Urgency.TODAY),  # it is still yesterday where the camera is
        ("20260602", 0, Urgency.TODAY),
        ("20260530", 0, Urgency.EARLIER),
        ("19990101", 0, Urgency.EARLIER),
        ("", 0, Urgency.UNDATED),
        ("00010101", 0, Urgency.UNDATED),
        ("20260601", 1, Urgency.EARLIER),
    ],
)
def test_today_first_and_what_is_asked_for_anew_last(
    study_date: str, reopened: int, expected: Urgency
) -> None:
    assert urgency(study_date, reopened=reopened, now=NOW) is expected
    assert Urgency.TODAY < Urgency.UNDATED < Urgency.EARLIER
