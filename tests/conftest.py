"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import models  # noqa: F401 - sets how OpenMP waits, before torch is imported
from tests.peers import OrthancPeer, running_orthanc


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[OrthancPeer]:
    """An empty Orthanc on loopback, for one test; for known modalities call `running_orthanc` yourself."""
    with running_orthanc(tmp_path / "orthanc") as peer:
        yield peer
