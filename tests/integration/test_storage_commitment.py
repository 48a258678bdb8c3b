"""Storage commitment against Orthanc, and against archives that misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, evt
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker
from structlog.testing import capture_logs

from dicom_node.caller import Caller
from dicom_node.commitment_dataset import build_report, build_request, read_request
from dicom_node.commitment_scp import CommitmentScp
from dicom_node.commitment_scu import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, CommitmentScu
from dicom_node.commitments import Commitments
from dicom_node.outbox import Backoff, Outbox
from dicom_node.receiver import Receiver
from dicom_node.sender import Sender
from dicom_node.settings_sections import Sender as SenderEntry
from storage.commitments import add_request, held_objects
from storage.deliveries import count_deliveries, dead, waiting
from storage.instances import InstanceStore
from storage.tables import Commitment, Delivery
from tests.integration.running_node import STUDY, NodeUnderTest, running, wait_until, write_photograph
from tests.peers import LOOPBACK, Modality, free_port, running_orthanc
from tests.receiving import CALLING, association, photograph, receiver_settings, running_receiver, send
from tests.unit.rows import NOON, add_object, add_photograph, database, write_beside

BACKOFF = Backoff(first_seconds=8, longest_seconds=100, attempts=3)


@pytest.fixture
def node(tmp_path: Path) -> NodeUnderTest:
    (tmp_path / "node").mkdir()
    return NodeUnderTest(
        folder=tmp_path / "node",
        destination_port=free_port(),
        storage_commitment=True,
        delivery="commitment_timeout_seconds = 20",
    )


_DROPS_THE_FIRST = """
dropped = 0
function ReceivedInstanceFilter(dicom, origin, info)
  if dropped < 1 then dropped = dropped + 1; return false end
  return true
end
"""


@pytest.mark.parametrize("commitment", [True, False])
def test_what_orthanc_answers_with_success_and_drops_is_lost_without_commitment_only(
    tmp_path: Path, commitment: bool
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "drop.lua").write_text(_DROPS_THE_FIRST)
    deliverer, port = _deliverer(tmp_path / "data", report_seconds=0, archive="ORTHANC"), free_port()
    with (
        running_orthanc(
            tmp_path / "orthanc",
            modalities=[Modality("FACENORM", port)],
            extra={"LuaScripts": [str(tmp_path / "drop.lua")]},
        ) as orthanc,
        _committing_receiver(tmp_path / "data", deliverer, port=port, archive=orthanc.ae_title),
    ):
        archive = _Archive(ae_title=orthanc.ae_title, port=orthanc.dicom_port, storage_commitment=commitment)
        deliverer.turn(archive)
        if commitment:
            wait_until(lambda: deliverer.counts() == {"due": 1}, 10, "the report of the loss")
            with deliverer.sessions() as session:
                assert waiting(session)[0].error == "commitment_0112"
            assert orthanc.instance_uids() == []
            deliverer.clock.now += timedelta(seconds=100)
            deliverer.turn(archive)
        wait_until(lambda: deliverer.counts() == {"delivered": 1}, 10, "the delivery")
        assert len(orthanc.instance_uids()) == commitment


def test_orthanc_and_the_node_commit_themselves_to_each_other(node: NodeUnderTest, tmp_path: Path) -> None:
    node.further = f"""
    [[senders]]
    ae_title = "ORTHANC"
    host = "{LOOPBACK}"
    commitment_port = {node.destination_port}
    """
    modality = Modality("FACENORM", node.port)
    with (
        running_orthanc(
            tmp_path / "orthanc", dicom_port=node.destination_port, modalities=[modality]
        ) as orthanc,
        running(node),
    ):
        kept = orthanc.store(write_photograph(node.folder, f"{STUDY}.10").read_bytes())
        orthanc.post("/modalities/FACENORM/store", {"Resources": [kept]})
        other = orthanc.store(write_photograph(node.folder, f"{STUDY}.11", study="1.2.3").read_bytes())
        answers = {}
        for name, resource in (("kept", kept), ("never sent", other)):
            asked = orthanc.post("/modalities/FACENORM/storage-commitment", {"Resources": [resource]})
            path = f"/storage-commitment/{asked['ID']}"
            wait_until(lambda path=path: orthanc.get(path)["Status"] != "Pending", 20, f"the report: {name}")
            answers[name] = orthanc.get(path)
        orthanc.wait_for_instances(4, timeout=30)
        wait_until(lambda: 'state="delivered"} 2.0' in node.metrics(), 30, "both commitments")
    assert answers["kept"]["Status"] == "Success"
    assert [item["SOPInstanceUID"] for item in answers["kept"]["Success"]] == [f"{STUDY}.10"]
    assert answers["never sent"]["Status"] == "Failure"
    assert answers["never sent"]["Failures"][0]["FailureReason"] == 0x0112
    assert node.output.count("] committed ") == node.output.count("stored, commitment to come") == 2


@dataclass
class _Clock:
    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now


@dataclass
class _Archive:
    """A PACS of pynetdicom's that answers Success to everything and keeps what it was asked."""

    report: Callable[[Any, str, list[tuple[str, str]]], None] = lambda *_: None
    stored: list[str] = field(default_factory=list)
    asked: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    ae_title: str = "PACS"
    host: str = LOOPBACK
    port: int = 0
    tls: bool = False
    storage_commitment: bool = True

    @contextmanager
    def serving(self) -> Iterator[None]:
        entity = AE(ae_title=self.ae_title)
        entity.add_supported_context(SecondaryCaptureImageStorage)
        entity.add_supported_context(STORAGE_COMMITMENT)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._ask)]
        server = entity.start_server((LOOPBACK, 0), block=False, evt_handlers=handlers)
        self.port = server.server_address[1]
        try:
            yield
        finally:
            server.shutdown()

    def _store(self, event: Any) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def _ask(self, event: Any) -> tuple[int, None]:
        request = read_request(event.action_information)
        self.asked.append(request)
        self.report(event.assoc, *request)
        return 0x0000, None


@dataclass
class _Deliverer:
    """The sending half of a node on an injected clock, with one result for the archive."""

    outbox: Outbox
    commitments: Commitments
    clock: _Clock
    sessions: Any

    def turn(self, archive: _Archive) -> None:
        self.outbox.deliver_due(archive)
        self.commitments.ask_due(archive)

    def counts(self) -> dict[str, int]:
        with self.sessions() as session:
            return {state: number for state, number in count_deliveries(session).items() if number}


def _deliverer(folder: Path, *, report_seconds: float = 2.0, archive: str = "PACS") -> _Deliverer:
    source = photograph()
    source.save_as(folder / "result.dcm", enforce_file_format=True)
    sessions, clock = database(folder), _Clock()
    with sessions.begin() as session:
        add_object(session, source.SOPInstanceUID, [archive], path="result.dcm")
    common = {"sessions": sessions, "clock": clock, "random": Random(1), "backoff": BACKOFF}
    times = {"ae_title": "FACENORM", "association_seconds": 5, "response_seconds": 5}
    outbox = Outbox(resolve=lambda path: folder / path, sender=Sender(**times), **common)
    scu = CommitmentScu(**times, report_seconds=report_seconds)
    return _Deliverer(outbox, Commitments(scu=scu, timeout_seconds=600, **common), clock, sessions)


def _send_report(opened: Any, transaction: str, committed: Any, failed: Any = None) -> Any:
    event_type, information = build_report(transaction, committed, failed or {})
    return opened.send_n_event_report(
        information, event_type, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
    )[0].Status


def test_a_report_on_the_same_association_is_taken(tmp_path: Path) -> None:
    answers = []

    def report(opened: Any, transaction: str, references: list[tuple[str, str]]) -> None:
        def later() -> None:
            time.sleep(0.3)
            answers.append(_send_report(opened, transaction, references))

        threading.Thread(target=later).start()

    deliverer, archive = _deliverer(tmp_path), _Archive(report=report)
    with archive.serving():
        deliverer.turn(archive)
        wait_until(lambda: answers, 5, "the answer to the report")
    assert answers == [0x0000]
    assert deliverer.counts() == {"delivered": 1}
    assert len(archive.stored) == len(archive.asked) == 1


def test_without_a_report_it_is_sent_again_and_given_up_in_the_end(tmp_path: Path) -> None:
    deliverer, archive = _deliverer(tmp_path, report_seconds=0), _Archive()
    with archive.serving():
        deliverer.turn(archive)
        deliverer.turn(archive)  # nothing is due
        assert (len(archive.stored), len(archive.asked)) == (1, 1)
        assert deliverer.counts() == {"uncommitted": 1}
        for times in (2, 3):
            deliverer.clock.now += timedelta(seconds=601)
            deliverer.turn(archive)
            assert deliverer.counts() == {"due": 1}
            deliverer.clock.now += timedelta(seconds=100)
            deliverer.turn(archive)
            assert (len(archive.stored), len(archive.asked)) == (times, times)
        deliverer.clock.now += timedelta(seconds=601)
        deliverer.turn(archive)
    assert deliverer.counts() == {"dead": 1}
    with deliverer.sessions() as session:
        assert dead(session)[0].error == "commitment_timeout"
    assert len({transaction for transaction, _ in archive.asked}) == 3


@pytest.mark.parametrize("times", [1, BACKOFF.attempts])
def test_nothing_is_told_of_what_a_report_commits_just_when_its_time_is_over(
    tmp_path: Path, times: int
) -> None:
    deliverer, archive = _deliverer(tmp_path, report_seconds=0), _Archive()
    with archive.serving():
        deliverer.turn(archive)
    with deliverer.sessions.begin() as session:
        session.execute(update(Delivery).values(attempts=times))
    ((transaction, references),) = archive.asked
    _, information = build_report(transaction, references, {})

    class Overtaken(sessionmaker[Session]):
        def begin(self) -> Any:
            assert deliverer.commitments.take_report("PACS", information) == 0x0000
            return super().begin()

    deliverer.clock.now += timedelta(seconds=601)
    late = replace(deliverer.commitments, sessions=Overtaken(deliverer.sessions.kw["bind"]))
    with capture_logs() as events:
        late.ask_due(archive)
    assert deliverer.counts() == {"delivered": 1}
    assert [event["event"] for event in events] == ["committed"]


def test_a_late_report_counts_until_another_request_takes_its_place(tmp_path: Path) -> None:
    deliverer, archive = _deliverer(tmp_path, report_seconds=0), _Archive()
    with archive.serving():
        deliverer.turn(archive)
        deliverer.clock.now += timedelta(seconds=601)
        deliverer.turn(archive)
    assert deliverer.counts() == {"due": 1}
    ((transaction, references),) = archive.asked
    _, information = build_report(transaction, references, {})
    assert deliverer.commitments.take_report("SOMEBODY", information) == 0x0000
    assert deliverer.counts() == {"due": 1}  # it was not asked
    assert deliverer.commitments.take_report("PACS", information) == 0x0000
    assert deliverer.counts() == {"delivered": 1}


def test_a_destination_without_commitment_gives_the_delivery_up_with_its_reason(tmp_path: Path) -> None:
    deliverer, archive = _deliverer(tmp_path), _Archive()
    with archive.serving():
        deliverer.outbox.deliver_due(archive)
    entity = AE(ae_title="PACS")
    entity.add_supported_context(SecondaryCaptureImageStorage)
    server = entity.start_server((LOOPBACK, 0), block=False)
    archive.port = server.server_address[1]
    deliverer.commitments.ask_due(archive)
    server.shutdown()
    with deliverer.sessions() as session:
        assert [delivery.error for delivery in dead(session)] == ["commitment_no_accepted_context"]


def test_a_destination_that_is_away_is_asked_later_and_sent_nothing_again(tmp_path: Path) -> None:
    deliverer, archive = _deliverer(tmp_path), _Archive()
    with archive.serving():
        deliverer.outbox.deliver_due(archive)
    archive.port = free_port()
    deliverer.commitments.ask_due(archive)
    with deliverer.sessions() as session:
        (delivery,) = waiting(session)
    assert (delivery.state, delivery.error) == ("uncommitted", "commitment_no_association")
    deliverer.clock.now = delivery.due_at
    with archive.serving():
        deliverer.turn(archive)
    assert (len(archive.stored), len(archive.asked)) == (1, 1)


@contextmanager
def _committing_receiver(
    folder: Path, deliverer: _Deliverer | None = None, *, port: int = 0, archive: str = "PACS"
) -> Iterator[tuple[Receiver, Any]]:
    deliverer = deliverer or _deliverer(folder)
    settings = receiver_settings(
        folder,
        node={"port": port},
        destinations=[{"ae_title": archive, "host": LOOPBACK, "port": 1, "storage_commitment": True}],
    )
    sessions, store = deliverer.sessions, InstanceStore(folder)
    scp = CommitmentScp(
        sessions=sessions,
        store=store,
        caller=Caller(ae_title="FACENORM"),
        clock=_Clock(),
        random=Random(1),
        backoff=BACKOFF,
    )
    receiver = Receiver(
        settings, sessions=sessions, store=store, commitment_scp=scp, commitments=deliverer.commitments
    )
    receiver.start()
    try:
        yield receiver, sessions
    finally:
        receiver.stop()


def test_a_sender_without_a_port_gets_its_report_where_it_asked(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    reports: list[Dataset] = []

    def take(event: Any) -> tuple[int, None]:
        reports.append(event.event_information)
        return 0x0000, None

    with _committing_receiver(tmp_path / "data") as (receiver, _):
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
    reports: list[Dataset] = []

    def take(event: Any) -> tuple[int, None]:
        reports.append(event.event_information)
        return 0x0000, None

    with _committing_receiver(tmp_path / "data") as (receiver, sessions):

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
    with _committing_receiver(tmp_path / "data") as (receiver, _):
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
    with _committing_receiver(tmp_path / "data") as (receiver, _):
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
    reports: list[Dataset] = []

    def take(event: Any) -> tuple[int, None]:
        reports.append(event.event_information)
        return 0x0000, None

    camera = AE(ae_title=CALLING)
    camera.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
    server = camera.start_server((LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)])
    with _committing_receiver(tmp_path / "data") as (receiver, sessions):
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
    with _committing_receiver(tmp_path / "data") as (receiver, _):
        contexts = [
            (SecondaryCaptureImageStorage, ExplicitVRLittleEndian),
            (STORAGE_COMMITMENT, ExplicitVRLittleEndian),
        ]
        with association(receiver, calling="PACS", contexts=contexts) as opened:
            assert [cx.abstract_syntax for cx in opened.accepted_contexts] == [STORAGE_COMMITMENT]
        # A sender is no destination: its report is not believed.
        with association(receiver, contexts=contexts) as opened:
            assert _send_report(opened, "1.2.3", [(SecondaryCaptureImageStorage, "1.2")]) == 0x0124


def test_a_request_that_cannot_be_understood_is_answered_and_the_association_goes_on(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with (
        _committing_receiver(tmp_path / "data") as (receiver, _),
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
