"""Storage commitment of what the node sends: Orthanc, and archives that misbehave."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom import AE
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker
from structlog.testing import capture_logs

from dicom_node.commitment_dataset import build_report
from storage.deliveries import dead, waiting
from storage.tables import Delivery
from tests.committing import (
    BACKOFF,
    Archive,
    committing_receiver,
    send_report,
    sending_half,
)
from tests.integration.running_node import STUDY, NodeUnderTest, running, wait_until, write_photograph
from tests.peers import LOOPBACK, Modality, free_port, running_orthanc


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
    deliverer, port = sending_half(tmp_path / "data", report_seconds=0, archive="ORTHANC"), free_port()
    with (
        running_orthanc(
            tmp_path / "orthanc",
            modalities=[Modality("FACENORM", port)],
            extra={"LuaScripts": [str(tmp_path / "drop.lua")]},
        ) as orthanc,
        committing_receiver(tmp_path / "data", deliverer, port=port, archive=orthanc.ae_title),
    ):
        archive = Archive(ae_title=orthanc.ae_title, port=orthanc.dicom_port, storage_commitment=commitment)
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


def test_a_report_on_the_same_association_is_taken(tmp_path: Path) -> None:
    answers = []

    def report(opened: Any, transaction: str, references: list[tuple[str, str]]) -> None:
        def later() -> None:
            time.sleep(0.3)
            answers.append(send_report(opened, transaction, references))

        threading.Thread(target=later).start()

    deliverer, archive = sending_half(tmp_path), Archive(report=report)
    with archive.serving():
        deliverer.turn(archive)
        wait_until(lambda: answers, 5, "the answer to the report")
    assert answers == [0x0000]
    assert deliverer.counts() == {"delivered": 1}
    assert len(archive.stored) == len(archive.asked) == 1


def test_without_a_report_it_is_sent_again_and_given_up_in_the_end(tmp_path: Path) -> None:
    deliverer, archive = sending_half(tmp_path, report_seconds=0), Archive()
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
    deliverer, archive = sending_half(tmp_path, report_seconds=0), Archive()
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
    deliverer, archive = sending_half(tmp_path, report_seconds=0), Archive()
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
    deliverer, archive = sending_half(tmp_path), Archive()
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
    deliverer, archive = sending_half(tmp_path), Archive()
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
