"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import models  # noqa: F401 - sets how OpenMP waits, before torch is imported
from tests.peers import OrthancPeer, running_orthanc
from tests.postgresql import PostgresPeer, running_postgresql
from tests.s3_server import Place, S3Server, running_s3


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[OrthancPeer]:
    """An empty Orthanc on loopback, for one test; for known modalities call `running_orthanc` yourself."""
    with running_orthanc(tmp_path / "orthanc") as peer:
        yield peer


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresPeer]:
    """A PostgreSQL server for every test of this process; each takes a `database` of its own."""
    with running_postgresql() as peer:
        yield peer


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """moto's S3 server for every test of this process; it takes any credentials."""
    with running_s3() as server:
        yield server


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials for object storage in the environment, as the product wants them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")


@pytest.fixture
def bucket(s3: S3Server, credentials: None) -> Place:
    """An empty part of the bucket for one test."""
    return Place(s3)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a test is to keep its rows: run once with each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'facenorm.sqlite'}"
    peer: PostgresPeer = request.getfixturevalue("postgresql")
    return peer.database()
