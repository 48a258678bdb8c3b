"""A patient's course in a small archive: where it is kept, and what its reports say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.cli import app
from tests.small_archive import SmallArchive


@pytest.fixture
def archive(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallArchive]:
    on_postgresql = getattr(request, "param", "sqlite") == "postgresql"
    url = request.getfixturevalue("postgresql").database() if on_postgresql else ""
    archive = SmallArchive(tmp_path, database_url=url)
    yield archive
    archive.engine.dispose()


on_both = pytest.mark.parametrize("archive", ["sqlite", "postgresql"], indirect=True)


def kinds(archive: SmallArchive) -> Counter[str]:
    return Counter(row.kind for row in archive.rows())


def measured(report, code: str) -> list[float]:
    found = []
    for group in report.ContentSequence[-1].ContentSequence:
        for item in group.ContentSequence:
            if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].get("CodeValue") == code:
                found.append(float(item.MeasuredValueSequence[0].NumericValue))
    return found


def predecessor_of(report) -> str:
    series = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    return str(series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)


def run(archive: SmallArchive, *arguments: str, status: int = 0):
    result = CliRunner().invoke(app, [*arguments, "--config", str(archive.config)])
    assert result.exit_code == status, result.output
    return result
