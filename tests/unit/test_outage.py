"""Only a PostgreSQL or a bucket that is away is waited for, and not for ever."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from dicom_node.outage import outlast
from storage.file_store import UnreachableError

AWAY = OperationalError("COMMIT", None, psycopg.errors.AdminShutdown())
BUCKET_AWAY = UnreachableError(5, "object storage failed (GenericError)")


@pytest.mark.parametrize("away", [AWAY, BUCKET_AWAY])
def test_what_was_done_is_returned_when_the_place_is_back(away: Exception) -> None:
    answers: list[Exception | str] = [away, away, "done"]
    waited: list[float] = []

    def transaction() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert outlast(transaction, sleep=waited.append) == "done"
    assert waited == [0.5, 1.0]


def test_it_is_not_waited_for_ever() -> None:
    waited: list[float] = []

    def transaction() -> None:
        raise AWAY

    with pytest.raises(OperationalError):
        outlast(transaction, seconds=60, sleep=waited.append)
    assert 60 <= sum(waited) <= 70


@pytest.mark.parametrize(
    "error",
    [
        IntegrityError("INSERT", None, psycopg.errors.UniqueViolation()),
        OperationalError("BEGIN", None, OSError("of SQLite")),
        ValueError(),
        OSError(28, "No space left on device"),
        FileNotFoundError(),
    ],
)
def test_what_will_not_go_away_is_raised_at_once(error: Exception) -> None:
    def transaction() -> None:
        raise error

    with pytest.raises(type(error)):
        outlast(transaction, sleep=lambda _: pytest.fail("waited"))
