"""What the unit tests say of queries and the outbox holds on PostgreSQL, too: the same tests, run on it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from storage.database import open_database, sessions
from tests.postgresql import PostgresPeer
from tests.unit import test_outbox, test_scorings, test_trigger

_MODULES = (test_outbox, test_scorings, test_trigger)


def _tests(module: ModuleType) -> list[str]:
    return [
        name
        for name, function in vars(module).items()
        if name.startswith("test_")
        and "database(" in inspect.getsource(function)
        and list(inspect.signature(function).parameters) == ["tmp_path"]
    ]


CASES = [(module, name) for module in _MODULES for name in _tests(module)]


@pytest.fixture
def engines() -> Iterator[list[Engine]]:
    opened: list[Engine] = []
    yield opened
    for engine in opened:
        engine.dispose()


@pytest.mark.parametrize(("module", "name"), CASES, ids=[name for _, name in CASES])
def test_it_holds_on_postgresql(
    module: ModuleType,
    name: str,
    tmp_path: Path,
    postgresql: PostgresPeer,
    engines: list[Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def database(_folder: Path) -> sessionmaker[Session]:
        engines.append(open_database(postgresql.database()))
        return sessions(engines[-1])

    monkeypatch.setattr(module, "database", database)
    test: Callable[[Path], None] = getattr(module, name)
    test(tmp_path)


def test_the_unit_tests_are_found() -> None:
    assert {module for module, _ in CASES} == set(_MODULES)
    assert len(CASES) >= 12
