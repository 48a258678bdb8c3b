"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgresql import PostgresPeer, running_postgresql


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresPeer]:
    """A PostgreSQL server for every test of this process; each takes a `database` of its own."""
    with running_postgresql() as peer:
        yield peer
