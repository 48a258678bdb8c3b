"""Priors of which only a part came: the archive is asked again for what is missing, no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import generate_uid

from dicom_node.caller import Caller
from dicom_node.priors import Priors
from dicom_node.priors_scu import PriorsScu
from storage.database import sessions
from storage.tables import Patient, Photograph
from tests.query_archive import ARCHIVE, QueryArchive, running_query_archive
from tests.receiving import CALLING, photograph, running_receiver, send

_NOW = datetime(2026, 3, 2, tzinfo=UTC)


def scu_of(archive: QueryArchive) -> PriorsScu:
    return PriorsScu(
        caller=Caller(ae_title="FACENORM", connect_seconds=2, association_seconds=5, response_seconds=5),
        archive=archive,
        destination="FACENORM",
        modalities=("XC",),
        most_studies=5,
    )


def study(date: str, count: int) -> list[Dataset]:
    """Return the photographs of a study of one series."""
    of_all = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "StudyDate": date}
    return [photograph(Modality="XC", **of_all) for _ in range(count)]


def test_a_study_of_which_only_part_was_moved_is_fetched_to_the_end(tmp_path: Path) -> None:
    complete, broken_off, newest = study("20250101", 2), study("20250601", 5), study("20260301", 2)
    clock = [_NOW]
    with (
        running_receiver(tmp_path, senders=[{"ae_title": CALLING}, {"ae_title": ARCHIVE}]) as receiver,
        running_query_archive([*complete, *broken_off, *newest], to=receiver.port) as archive,
    ):
        priors = Priors(sessions=sessions(receiver.engine), scu=scu_of(archive), clock=lambda: clock[0])
        # The other one of its study is on its way from the same sender.
        assert send(receiver, newest[0]) == [0]
        archive.abort_after = 2
        assert priors.ask_due() == 0
        assert len(receiver.rows(Photograph)) == 5  # one was sent, two of each study moved
        archive.moved.clear()
        archive.abort_after = None
        clock[0] += timedelta(minutes=1)
        assert priors.ask_due() == 3
        assert [set(uids) for uids in archive.moved] == [{str(one.SOPInstanceUID) for one in broken_off[2:]}]
        assert len(receiver.rows(Photograph)) == 8
        (patient,) = receiver.rows(Patient)
        assert patient.priors_asked_at == clock[0]
