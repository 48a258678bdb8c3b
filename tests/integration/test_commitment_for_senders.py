"""Storage commitment of what the node has received, as its senders and destinations ask for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, evt
from sqlalchemy import select

from dicom_node.caller import Caller
from dicom_node.commitment_dataset import build_request
from dicom_node.commitment_scu import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from dicom_node.settings_sections import Sender as SenderEntry
from storage.commitments import add_request, held_objects
from storage.instances import InstanceStore
from storage.tables import Commitment
from tests.committing import (
    committing_receiver,
    send_report,
)
from tests.integration.running_node import wait_until
from tests.peers import LOOPBACK
from tests.receiving import CALLING, association, photograph, running_receiver, send
from tests.unit.rows import NOON, add_object, add_photograph, database, write_beside


def _taker() -> tuple[list[Dataset], Callable[[Any], tuple[int, None]]]:
    """Return a list, and a handler that takes reports into it."""
    reports: list[Dataset] = []

    def take(event: Any) -> tuple[int, None]:
        reports.append(event.event_information)
        return 0x0000, None

    return reports, take


def test_a_sender_without_a_port_gets_its_report_where_it_asked(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    reports, take = _taker()
    with committing_receiver(tmp_path / "data") as (receiver, _):
        source = photograph()
        contexts = [
            (SecondaryCaptureImageStorage, ExplicitVRLittleEndian),
            (STORAGE_COMMITMENT, ExplicitVRLittleEndian),
        ]
        with association(receiver, contexts=contexts) as opened:
            opened.bind(evt.EVT_N_EVENT_REPORT, take)
            assert opened.send_c_store(source).Status == 0x0000
            references = [(source.SOPClassUID, source.SOPInstanceUID), (source.SOPClassUID, "1.2.3.4")]
            status, _ = opened.send_n_action(
                build_request("1.2.3", references), 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
            )
            assert status.Status == 0x0000
            wait_until(lambda: reports, 10, "the report")
    (report,) = reports
    assert report.TransactionUID == "1.2.3"
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [source.SOPInstanceUID]
    assert [item.FailureReason for item in report.FailedSOPSequence] == [0x0112]


def test_each_association_gets_its_own_report_whatever_became_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first one's report is to be due after the second one has asked.
    monkeypatch.setattr("dicom_node.commitment_scp._AFTER_THE_ANSWER_SECONDS", 1.0)
    (tmp_path / "data").mkdir()
    reports, take = _taker()
    with committing_receiver(tmp_path / "data") as (receiver, sessions):

        def states() -> dict[str, str]:
            with sessions() as session:
                return {row.transaction_uid: row.state for row in session.scalars(select(Commitment))}

        ask = (1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
        contexts = [(STORAGE_COMMITMENT, ExplicitVRLittleEndian)]
        with association(receiver, contexts=contexts) as staying:
            staying.bind(evt.EVT_N_EVENT_REPORT, take)
            with association(receiver, contexts=contexts) as leaving:
                first = build_request("1.2.1", [(SecondaryCaptureImageStorage, "1.2.3.4")])
                assert leaving.send_n_action(first, *ask)[0].Status == 0x0000
            second = build_request("1.2.2", [(SecondaryCaptureImageStorage, "1.2.3.4")])
            assert staying.send_n_action(second, *ask)[0].Status == 0x0000
            wait_until(lambda: "due" not in states().values(), 10, "both reports")
    assert states() == {"1.2.1": "dead", "1.2.2": "reported"}
    assert [report.TransactionUID for report in reports] == ["1.2.2"]


def _request(*references: tuple[str, str]) -> Commitment:
    return Commitment(transaction_uid="1.2.3", instances=[list(pair) for pair in references])


def _damage(kept: Path) -> None:
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")


def _hide(kept: Path) -> None:
    kept.unlink()
    kept.mkdir()  # there, and cannot be read


@pytest.mark.parametrize(("harm", "expected"), [(_damage, 0x0110), (_hide, 0x0110), (Path.unlink, 0x0112)])
def test_a_photograph_whose_file_is_not_as_it_was_is_not_committed(
    tmp_path: Path, harm: Callable[[Path], None], expected: int
) -> None:
    (tmp_path / "data").mkdir()
    with committing_receiver(tmp_path / "data") as (receiver, _):
        source = photograph()
        assert send(receiver, source) == [0x0000]
        (kept,) = (tmp_path / "data" / "photograph").rglob("*.dcm")
        harm(kept)
        scp = receiver._commitment_scp
        assert scp is not None
        _, report = scp._report(_request((source.SOPClassUID, source.SOPInstanceUID)))
    assert [item.FailureReason for item in report.FailedSOPSequence] == [expected]


class _WatchedStore(InstanceStore):
    """A store beside which somebody writes to the database whenever a file is read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read_paths: list[str] = []

    def read(self, path: str) -> bytes:
        self.read_paths.append(path)
        write_beside(self.folder)
        return super().read(path)


def test_others_write_while_an_object_is_read_once_however_often_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with committing_receiver(tmp_path / "data") as (receiver, _):
        source = photograph()
        assert send(receiver, source) == [0x0000]
        assert receiver._commitment_scp is not None
        store = _WatchedStore(tmp_path / "data")
        scp = replace(receiver._commitment_scp, store=store)
        reference = (source.SOPClassUID, source.SOPInstanceUID)
        other_class = ("1.2.840.10008.5.1.4.1.1.2", source.SOPInstanceUID)
        absent = (source.SOPClassUID, "1.2.3.4")
        _, report = scp._report(_request(*[reference] * 10, other_class, absent))
    assert len(store.read_paths) == 1
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [source.SOPInstanceUID]
    failed = {
        (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID): item.FailureReason
        for item in report.FailedSOPSequence
    }
    assert failed == {other_class: 0x0119, absent: 0x0112}


class _SlowStore(InstanceStore):
    """A store that takes longer to read than an association may be silent."""

    def read(self, path: str) -> bytes:
        time.sleep(1.5)
        return super().read(path)


def test_objects_that_take_long_to_read_are_reported_on_at_the_first_attempt(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    reports, take = _taker()
    camera = AE(ae_title=CALLING)
    camera.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
    server = camera.start_server((LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)])
    with committing_receiver(tmp_path / "data") as (receiver, sessions):
        source = photograph()
        assert send(receiver, source) == [0x0000]
        with sessions.begin() as session:
            reference = (source.SOPClassUID, source.SOPInstanceUID)
            add_request(session, ae_title=CALLING, transaction_uid="1.2.3", instances=[reference], now=NOON)
        assert receiver._commitment_scp is not None
        scp = replace(
            receiver._commitment_scp,
            store=_SlowStore(tmp_path / "data"),
            caller=Caller(ae_title="FACENORM", response_seconds=1),
        )
        port = server.server_address[1]
        assert scp.report_due(SenderEntry(ae_title=CALLING, host=LOOPBACK, commitment_port=port)) == 1
    server.shutdown()
    assert [item.ReferencedSOPInstanceUID for item in reports[0].ReferencedSOPSequence] == [
        source.SOPInstanceUID
    ]


def test_more_objects_than_a_statement_takes_are_looked_up(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    uids = [f"1.2.{number}" for number in range(1100)]
    with sessions.begin() as session:
        for uid in (uids[0], uids[600], uids[-1]):
            add_photograph(session, uid)
        result = add_object(session, uids[1], []).sop_instance_uid
    with sessions() as session:
        held = held_objects(session, uids)
    assert set(held) == {uids[0], uids[600], uids[-1], result}
    assert held[result].path == f"results/{result}.dcm"


def test_a_destination_may_report_and_store_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with committing_receiver(tmp_path / "data") as (receiver, _):
        contexts = [
            (SecondaryCaptureImageStorage, ExplicitVRLittleEndian),
            (STORAGE_COMMITMENT, ExplicitVRLittleEndian),
        ]
        with association(receiver, calling="PACS", contexts=contexts) as opened:
            assert [cx.abstract_syntax for cx in opened.accepted_contexts] == [STORAGE_COMMITMENT]
        # A sender is no destination: its report is not believed.
        with association(receiver, contexts=contexts) as opened:
            assert send_report(opened, "1.2.3", [(SecondaryCaptureImageStorage, "1.2")]) == 0x0124


def test_a_request_that_cannot_be_understood_is_answered_and_the_association_goes_on(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with (
        committing_receiver(tmp_path / "data") as (receiver, _),
        association(receiver, contexts=[(STORAGE_COMMITMENT, ExplicitVRLittleEndian)]) as opened,
    ):
        broken = Dataset()
        broken.ReferencedSOPSequence = []
        ask = (STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
        assert opened.send_n_action(broken, 1, *ask)[0].Status == 0x0115
        # Of nothing it would be told that all is kept.
        assert opened.send_n_action(build_request("1.2", []), 1, *ask)[0].Status == 0x0115
        assert opened.send_n_action(build_request("1.2", []), 9, *ask)[0].Status == 0x0123
        assert opened.is_established


def test_a_receiver_of_photographs_alone_offers_no_commitment(tmp_path: Path) -> None:
    with (
        running_receiver(tmp_path) as receiver,
        association(
            receiver, calling=CALLING, contexts=[(STORAGE_COMMITMENT, ExplicitVRLittleEndian)]
        ) as opened,
    ):
        assert not opened.accepted_contexts
