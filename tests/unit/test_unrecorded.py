"""What becomes of files whose rows could not be written."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import FileDataset
from sqlalchemy import delete
from structlog.testing import capture_logs

from dicom_node.finished_objects import Unrecorded
from storage.artefacts import add_artefact
from storage.file_store import UnreachableError
from storage.instances import InstanceStore
from storage.tables import Artefact
from tests.report_samples import secondary_capture
from tests.unit.rows import NOON, add_photograph, database


@pytest.fixture
def made() -> FileDataset:
    return secondary_capture(1)


def test_files_without_a_row_go_with_any_exception_and_those_with_one_stay(
    tmp_path: Path, made: FileDataset
) -> None:
    sessions, store = database(tmp_path), InstanceStore(tmp_path)
    with pytest.raises(LookupError), Unrecorded(sessions, store) as files:
        recorded, lost = files.keep("trend", made), files.keep("comparison", made)
        with sessions.begin() as session:
            encounter = add_photograph(session, "1.2").encounter_pk
            add_artefact(
                session, recorded, encounter_pk=encounter, scorings=[], destinations=[], created_at=NOON
            )
        raise LookupError
    assert store.read(recorded.path)
    assert not store.absolute(lost.path).exists()
    with sessions.begin() as session:
        session.execute(delete(Artefact))
    files.discard()
    assert not store.absolute(recorded.path).exists()


def test_files_stay_where_nobody_knows_what_was_recorded(tmp_path: Path, made: FileDataset) -> None:
    store = InstanceStore(tmp_path)
    with pytest.raises(UnreachableError), Unrecorded(database(tmp_path), store) as files:
        kept = files.keep("trend", made)
        raise UnreachableError
    assert store.read(kept.path)


class _Stubborn(InstanceStore):
    def delete(self, path: str) -> None:
        raise PermissionError


def test_a_file_that_cannot_be_deleted_does_not_hide_what_went_wrong(
    tmp_path: Path, made: FileDataset
) -> None:
    with (
        capture_logs() as logs,
        pytest.raises(LookupError),
        Unrecorded(database(tmp_path), _Stubborn(tmp_path)) as files,
    ):
        files.keep("trend", made)
        raise LookupError
    assert [(line["event"], line["error"]) for line in logs] == [
        ("files without a row are left", "PermissionError")
    ]
