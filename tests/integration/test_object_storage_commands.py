"""The commands and the steps of a study, with files that lie in a bucket."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from dicom_node.cli import app
from reports.options import ReportOptions, ResultObject
from storage.consistency import Fault
from storage.deliveries import dead
from storage.instances import DamagedFileError
from storage.tables import Patient, Photograph
from tests.postgresql import PostgresPeer
from tests.s3_server import Place, running_s3
from tests.small_archive import SmallArchive, photograph
from tests.small_scorer import SmallScorer, executions

_OPTIONS = ReportOptions(objects=frozenset({ResultObject.NORMALIZED}))


@pytest.fixture
def archive(tmp_path: Path, bucket: Place) -> Iterator[SmallArchive]:
    """One photograph, scored and reported, not yet delivered."""
    archive = SmallArchive(tmp_path, options=_OPTIONS, files=bucket.data)
    archive.receive(photograph(1))
    archive.settle()
    yield archive
    archive.engine.dispose()


def _run(archive: SmallArchive, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments), "--config", str(archive.config)])


def _photographs(archive: SmallArchive) -> list[Photograph]:
    with Session(archive.engine) as session:
        return list(session.scalars(select(Photograph).order_by(Photograph.id)))


def _agrees(archive: SmallArchive) -> bool:
    return "Files and database agree." in _run(archive, "check").output


def test_what_was_written_and_never_recorded_is_taken_in_or_removed(
    archive: SmallArchive, bucket: Place
) -> None:
    assert _agrees(archive)
    archive.receive(photograph(2))
    recorded = _photographs(archive)[1]
    with Session(archive.engine) as session, session.begin():
        session.delete(session.get_one(Photograph, recorded.id))
    stray = archive.store.write("structured_report", "1.2.3", b"x")
    nonsense = archive.store.write("photograph", "1.2.3", b"no DICOM at all")
    found = _run(archive, "check")
    assert (found.exit_code, "file without a row: 3" in found.output) == (1, True), found.output
    repaired = _run(archive, "check", "--repair")
    assert repaired.exit_code == 0, repaired.output
    assert _photographs(archive)[1].path == recorded.path
    assert {stray.path, nonsense.path}.isdisjoint(bucket.paths())
    assert [bucket.get(path) for path in bucket.paths("quarantine/")] == [b"no DICOM at all"]
    assert _agrees(archive)


@pytest.mark.parametrize("fault", [Fault.MISSING_FILE, Fault.DAMAGED_FILE])
def test_lost_objects_are_found_and_what_they_were_is_held_back(
    archive: SmallArchive, bucket: Place, fault: Fault
) -> None:
    archive.receive(photograph(2))
    unscored = _photographs(archive)[1].path
    (report,) = bucket.paths("structured_report/")
    for path in (unscored, report):
        bucket.delete(path) if fault is Fault.MISSING_FILE else bucket.put(path, b"changed")
    found = _run(archive, "check")
    assert (found.exit_code, f"{fault.value}: 2" in found.output) == (1, True), found.output
    repaired = _run(archive, "check", "--repair")
    assert (repaired.exit_code, "restore the file from a backup" in repaired.output) == (1, True)
    assert len(_photographs(archive)) == 1
    assert unscored not in bucket.paths()
    with Session(archive.engine) as session:
        assert [delivery.error for delivery in dead(session)] == ["unreadable_file"]


def test_an_erased_patient_leaves_no_object_and_no_copy(archive: SmallArchive, bucket: Place) -> None:
    archive.receive(photograph(2, PatientID="TEST-OTHER"))
    others = _photographs(archive)[1].path
    assert archive.store.absolute(bucket.paths("structured_report/")[0]).is_file()
    erased = _run(archive, "patient", "erase", "TEST-1", "--yes")
    assert erased.exit_code == 0, erased.output
    assert bucket.paths() == [others]
    assert list((archive.folder / "data").rglob("*.dcm")) == []
    with Session(archive.engine) as session:
        assert session.scalars(select(Patient.patient_id)).all() == ["TEST-OTHER"]
    assert _agrees(archive)


def test_a_backup_holds_the_database_and_says_where_the_files_are(
    archive: SmallArchive, bucket: Place, tmp_path: Path
) -> None:
    backup = tmp_path / "backup.tar"
    saved = _run(archive, "backup", backup)
    assert saved.exit_code == 0, saved.output
    assert f"The files are not in it: they stay in {bucket.data['files_url']}" in saved.output
    with tarfile.open(backup) as opened:
        assert opened.getnames() == ["facenorm.sqlite"]
    (tmp_path / "elsewhere").mkdir()
    config = tmp_path / "elsewhere" / "facenorm.toml"
    config.write_text(f'[data]\nfolder = "{tmp_path / "elsewhere" / "data"}"\n{bucket.lines}\n')
    restored = CliRunner().invoke(app, ["restore", str(backup), "--config", str(config)])
    assert (restored.exit_code, "Files and database agree." in restored.output) == (0, True), restored.output
    # The same once more, now that an object has gone.
    bucket.delete(bucket.paths("structured_report/")[0])
    config.write_text(f'[data]\nfolder = "{tmp_path / "elsewhere" / "again"}"\n{bucket.lines}\n')
    restored = CliRunner().invoke(app, ["restore", str(backup), "--config", str(config)])
    assert (restored.exit_code, "1 files and rows disagree" in restored.output) == (1, True), restored.output


def test_a_history_moves_to_postgresql_and_its_files_to_a_bucket(
    tmp_path: Path, bucket: Place, postgresql: PostgresPeer, request: pytest.FixtureRequest
) -> None:
    old = SmallArchive(tmp_path, options=_OPTIONS)
    old.receive(photograph(1))
    old.settle()
    old.engine.dispose()
    (tmp_path / "new").mkdir()
    new = SmallArchive(
        tmp_path / "new", options=_OPTIONS, database_url=postgresql.database(), files=bucket.data
    )
    request.addfinalizer(new.engine.dispose)
    moved = _run(new, "import", tmp_path / "data")
    assert moved.exit_code == 0, moved.output
    assert f"copy every .dcm file below {tmp_path / 'data'} to {bucket.data['files_url']}" in moved.output
    assert "row without its file: 3" in _run(new, "check").output
    for path in (tmp_path / "data").rglob("*.dcm"):
        bucket.put(str(path.relative_to(tmp_path / "data")), path.read_bytes())
    assert _agrees(new)
    refused = _run(new, "backup", tmp_path / "backup.tar")
    assert (refused.exit_code, "or the bucket" in refused.output) == (1, True), refused.output


def test_a_damaged_object_does_not_take_the_rest_of_its_batch_along(tmp_path: Path, bucket: Place) -> None:
    archive = SmallArchive(tmp_path, options=_OPTIONS, files=bucket.data)
    for number in (1, 2, 3):
        archive.receive(photograph(1, number))
    uids = [row.sop_instance_uid for row in _photographs(archive)]
    bucket.put(_photographs(archive)[1].path, b"changed")
    steps = replace(archive.steps, scorer=SmallScorer(tmp_path / "scorer.log", most_at_once=3))
    steps.score_photograph(uids[0], following=uids[1:])
    assert executions(tmp_path / "scorer.log", "end") == [uids[0], uids[2]]
    with pytest.raises(DamagedFileError):
        steps.score_photograph(uids[1])
    archive.engine.dispose()


def test_a_bucket_that_is_away_is_told_and_nothing_is_lost(tmp_path: Path, credentials: None) -> None:
    with running_s3() as server:
        archive = SmallArchive(tmp_path, options=_OPTIONS, files=Place(server).data)
        archive.receive(photograph(1))
        server.stop()
        for command in (["check"], ["check", "--repair"], ["patient", "erase", "TEST-1", "--yes"]):
            refused = _run(archive, *command)
            assert (refused.exit_code, "data.files_endpoint" in refused.output) == (1, True), refused.output
        assert len(_photographs(archive)) == 1
    archive.engine.dispose()
