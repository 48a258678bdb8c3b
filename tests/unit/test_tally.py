"""Counting what grows for ever: exact, and without looking at the old rows again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, delete, event
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.metrics import NodeCollector
from storage.database import open_database, sessions
from storage.tables import Photograph
from storage.tally import Tally
from tests.unit.rows import add_photograph

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


class _Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


def _add(made: sessionmaker[Session], *numbers: int) -> None:
    with made.begin() as session:
        for number in numbers:
            add_photograph(session, f"1.3.{number}", study="1.2", at=NOW)


def test_new_rows_are_counted_and_old_ones_are_not_looked_at_again(engine: Engine) -> None:
    made, clock = sessions(engine), _Clock()
    tally = Tally(Photograph.id, Photograph.transfer_syntax_uid, clock=clock, unsettled_rows=2)
    counts: list[dict[str, int]] = []
    first_keys: list[int] = []

    @event.listens_for(engine, "before_cursor_execute")
    def look(_c: object, _k: object, statement: str, parameters: object, *_rest: object) -> None:
        if "count(*)" in statement:
            values = parameters.values() if isinstance(parameters, dict) else parameters
            first_keys.append(min(value for value in values if isinstance(value, int)))

    for start in range(0, 12, 3):
        _add(made, *range(start, start + 3))
        with made() as session:
            counts.append(dict(tally.count(session)))
    (syntax,) = counts[0]
    assert [one[syntax] for one in counts] == [3, 6, 9, 12]
    assert first_keys[0] == 0
    assert first_keys[-1] == 10, "all but the newest two are settled"


def test_the_newest_rows_are_counted_again_since_one_may_commit_late(engine: Engine) -> None:
    made = sessions(engine)
    tally = Tally(Photograph.id, clock=_Clock(), unsettled_rows=2)
    _add(made, *range(6))
    with made() as session:
        assert tally.count(session)[""] == 6
    with made.begin() as session:
        session.execute(delete(Photograph).where(Photograph.id == 6))
    _add(made, 7)
    with made() as session:
        assert tally.count(session)[""] == 6


def test_what_was_erased_is_taken_off_within_the_hour(engine: Engine) -> None:
    made, clock = sessions(engine), _Clock()
    tally = Tally(Photograph.id, clock=clock, unsettled_rows=1)
    _add(made, *range(5))
    with made() as session:
        assert tally.count(session)[""] == 5
    with made.begin() as session:
        session.execute(delete(Photograph).where(Photograph.id <= 2))
    with made() as session:
        assert tally.count(session)[""] == 5
        clock.now += timedelta(hours=1)
        assert tally.count(session)[""] == 3


def test_the_metrics_count_what_is_there(engine: Engine) -> None:
    made = sessions(engine)
    collector = NodeCollector(sessions=made, workflows=dict, chore_failures=dict, with_workers=False)
    for number in (1, 2):
        _add(made, number)
        found = {m.name: m.samples[0].value for m in collector.collect() if m.samples}
        assert found["facenorm_photographs_received"] == number
        assert "facenorm_workers" not in found, "none would be taken for none alive"
