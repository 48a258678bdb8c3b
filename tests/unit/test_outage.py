"""Only a PostgreSQL or a bucket that is away is waited for, and not for ever."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from dicom_node.outage import LongOutageError, outlast
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


@dataclass
class _Time:
    """A clock that sleeping moves on, and an answer that takes its time."""

    now: float = 0.0
    tries: int = 0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def away(self) -> None:
        self.tries += 1
        self.now += 40
        raise AWAY


def test_it_is_not_waited_for_ever_and_slow_answers_count() -> None:
    time = _Time()
    with pytest.raises(LongOutageError):
        outlast(time.away, seconds=60, sleep=time.sleep, clock=time.clock)
    assert time.tries == 2
    assert 60 <= time.now <= 100


def test_who_waits_around_it_does_not_begin_anew() -> None:
    time = _Time()
    with pytest.raises(LongOutageError):
        outlast(
            lambda: outlast(time.away, seconds=60, sleep=time.sleep, clock=time.clock),
            sleep=time.sleep,
            clock=time.clock,
        )
    assert time.tries == 2


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
