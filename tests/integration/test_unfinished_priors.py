"""Priors of which only a part came: the archive is asked again for what is missing, no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from dicom_node.priors import Priors
from storage.database import sessions
from storage.tables import Patient, Photograph
from tests.query_archive import ARCHIVE, prior_study, running_query_archive, scu_of
from tests.receiving import CALLING, running_receiver, send

_NOW = datetime(2026, 3, 2, tzinfo=UTC)


def test_a_study_of_which_only_part_was_moved_is_fetched_to_the_end(tmp_path: Path) -> None:
    complete, broken_off, newest = (
        prior_study("20250101", 2),
        prior_study("20250601", 5),
        prior_study("20260301", 2),
    )
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
