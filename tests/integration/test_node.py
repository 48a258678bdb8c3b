"""The composed node in a process of its own, between DCMTK as the camera and Orthanc as the archive."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage

from dicom_node.data_folder import FolderLock
from reports.normalized_photograph import IN_PLACE_SERIES_DESCRIPTION
from reports.options import ResultObject
from tests.integration.relay import Relay
from tests.integration.running_node import (
    PATIENT_ID,
    PATIENT_NAME,
    STUDY,
    NodeUnderTest,
    children,
    is_gone,
    kill,
    running,
    scoring_child,
    uids_of,
    wait_until,
    write_photograph,
)
from tests.peers import LOOPBACK, OrthancPeer, free_port
from tests.small_scorer import executions

SETTLE_SECONDS = 3.0


@pytest.fixture
def node(tmp_path: Path, orthanc: OrthancPeer) -> NodeUnderTest:
    folder = tmp_path / "node"
    folder.mkdir()
    return NodeUnderTest(folder=folder, destination_port=orthanc.dicom_port)


def _photographs(node: NodeUnderTest, count: int) -> list[Path]:
    return [write_photograph(node.folder, f"{STUDY}.{10 + n}", brightness=100 + 10 * n) for n in range(count)]


def _by_class(orthanc: OrthancPeer, sop_class: str) -> list[pydicom.FileDataset]:
    return [dataset for dataset in orthanc.datasets() if dataset.SOPClassUID == sop_class]


def _sources(images: list[pydicom.FileDataset]) -> list[str]:
    return sorted(str(image.SourceImageSequence[0].ReferencedSOPInstanceUID) for image in images)


def _one_of_each(orthanc: OrthancPeer, photographs: list[Path]) -> None:
    """Exactly one report, and one normalized photograph for each of `photographs`."""
    assert len(_by_class(orthanc, Comprehensive3DSRStorage)) == 1
    assert _sources(_by_class(orthanc, SecondaryCaptureImageStorage)) == sorted(uids_of(photographs))
    assert len(orthanc.instance_ids()) == len(photographs) + 1


def test_photographs_come_back_as_report_and_images(node: NodeUnderTest, orthanc: OrthancPeer) -> None:
    photographs = _photographs(node, 2)
    dark = write_photograph(node.folder, f"{STUDY}.99", brightness=0)
    with running(node):
        node.send(*photographs, dark)
        orthanc.wait_for_instances(3, timeout=30)
        time.sleep(SETTLE_SECONDS)
        wait_until(lambda: 'state="pending"} 0.0' in node.metrics(), 30, "the study to be done with")
        _one_of_each(orthanc, photographs)
        assert sorted(executions(node.scorer_log, "end")) == sorted(uids_of([*photographs, dark]))
        metrics = node.metrics()
        jobs = node.facenorm("jobs")
    for line in (
        "facenorm_photographs_received_total 3.0",
        'facenorm_scorings_total{status="scored"} 2.0',
        'facenorm_scorings_total{status="rejected"} 1.0',
        'facenorm_deliveries{state="delivered"} 3.0',
        'facenorm_deliveries{state="due"} 0.0',
        'facenorm_workflows{state="pending"} 0.0',
        'facenorm_stage_seconds_count{stage="normalize"} 3.0',
    ):
        assert line in metrics
    assert "chore_failures_total{" not in metrics
    assert jobs.returncode == 0, jobs.stderr
    assert "Studies in the queue: 0" in jobs.stdout
    assert "0 due, 0 uncommitted, 3 delivered, 0 dead" in jobs.stdout
    for secret in (PATIENT_ID, PATIENT_NAME, "TEST", "19700102"):
        assert secret not in node.output + jobs.stdout + jobs.stderr + metrics
    (report,) = _by_class(orthanc, Comprehensive3DSRStorage)
    assert report.PatientID == PATIENT_ID
    assert report.StudyInstanceUID == STUDY


def test_every_object_comes_back_once(node: NodeUnderTest, orthanc: OrthancPeer) -> None:
    node.objects = tuple(ResultObject)
    photographs = _photographs(node, 2)
    with running(node):
        node.send(*photographs)
        orthanc.wait_for_instances(8, timeout=60)
        node.send(*photographs)
        time.sleep(SETTLE_SECONDS)
        assert "chore_failures_total{" not in node.metrics()
    held = orthanc.datasets()
    kinds = Counter(str(dataset.SeriesDescription) for dataset in held)
    assert sorted(kinds.values()) == [1, 1, 2, 2, 2]  # report, page; normalized, in place, comparison
    in_place = [dataset for dataset in held if dataset.SeriesDescription == IN_PLACE_SERIES_DESCRIPTION]
    assert {(dataset.Rows, dataset.Columns) for dataset in in_place} == {(64, 48)}
    assert {dataset.StudyInstanceUID for dataset in held} == {STUDY}
    assert {dataset.PatientID for dataset in held} == {PATIENT_ID}


def test_a_later_photograph_makes_a_successor_report(node: NodeUnderTest, orthanc: OrthancPeer) -> None:
    first, second = _photographs(node, 2)
    with running(node):
        node.send(first)
        orthanc.wait_for_instances(2, timeout=30)
        (earlier,) = _by_class(orthanc, Comprehensive3DSRStorage)
        node.send(second)
        orthanc.wait_for_instances(4, timeout=30)
        # What is sent again is known, and starts nothing.
        node.send(first, second)
        time.sleep(SETTLE_SECONDS)
    reports = _by_class(orthanc, Comprehensive3DSRStorage)
    assert len(reports) == 2
    assert len(orthanc.instance_ids()) == 4
    (later,) = (report for report in reports if report.SOPInstanceUID != earlier.SOPInstanceUID)
    predecessor = later.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert predecessor.ReferencedSOPInstanceUID == earlier.SOPInstanceUID
    assert "PredecessorDocumentsSequence" not in earlier
    assert executions(node.scorer_log, "begin") == uids_of([first, second])


def test_killed_in_mid_scoring_it_resumes_and_repeats_no_finished_step(
    node: NodeUnderTest, orthanc: OrthancPeer
) -> None:
    photographs = _photographs(node, 3)
    with running(node, seconds=1.0) as process:
        node.send(*photographs)
        wait_until(lambda: len(executions(node.scorer_log, "begin")) == 2, 30, "the second scoring")
        left = children(process)
        kill(process)
        wait_until(lambda: all(is_gone(pid) for pid in left), 5, "every process of the node to end")
    assert len(left) >= 1
    finished = executions(node.scorer_log, "end")
    assert len(finished) == 1
    with running(node, seconds=0.1):
        orthanc.wait_for_instances(4, timeout=30)
        time.sleep(SETTLE_SECONDS)
    _one_of_each(orthanc, photographs)
    begun = executions(node.scorer_log, "begin")
    assert begun.count(finished[0]) == 1
    assert sorted(executions(node.scorer_log, "end")) == sorted(uids_of(photographs))
    assert len(begun) == 4  # the killed step twice, the others once


def test_a_scoring_process_that_is_killed_is_replaced_and_its_photograph_scored_once(
    node: NodeUnderTest, orthanc: OrthancPeer
) -> None:
    photographs = _photographs(node, 2)
    with running(node, seconds=1.0) as process:
        node.send(*photographs)
        wait_until(lambda: len(executions(node.scorer_log, "begin")) == 2, 30, "the second scoring")
        killed = scoring_child(process)
        for pid in (process.pid, killed):  # what crashes leaves no photograph in a core file
            assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
        os.kill(killed, signal.SIGKILL)
        orthanc.wait_for_instances(3, timeout=30)
        time.sleep(SETTLE_SECONDS)
        assert scoring_child(process) != killed
        assert node.health().status_code == 200
    _one_of_each(orthanc, photographs)
    assert executions(node.scorer_log, "end") == uids_of(photographs)
    assert "scoring process ended" in node.output
    assert "error=SIGKILL" in node.output


def test_killed_in_mid_delivery_the_archive_ends_up_with_one_of_each(
    node: NodeUnderTest, orthanc: OrthancPeer
) -> None:
    photographs = _photographs(node, 2)
    with Relay(orthanc.dicom_port) as relay:
        node.destination_port = relay.port
        relay.mute_after(3000)  # the archive gets the first object; its answer never arrives
        with running(node) as process:
            node.send(*photographs)
            wait_until(lambda: relay.muted and orthanc.instance_ids(), 30, "an unanswered object")
            kill(process)
        sent_before = orthanc.files()
        relay.pass_everything()
        with running(node):
            orthanc.wait_for_instances(3, timeout=30)
            time.sleep(SETTLE_SECONDS)
            assert "3 delivered" in node.facenorm("jobs").stdout
    _one_of_each(orthanc, photographs)
    assert set(sent_before) <= set(orthanc.files())
    assert sorted(executions(node.scorer_log, "begin")) == sorted(uids_of(photographs))


def test_another_setup_takes_up_what_the_old_one_left(node: NodeUnderTest, orthanc: OrthancPeer) -> None:
    photographs = _photographs(node, 2)
    with running(node, seconds=5.0) as process:
        node.send(*photographs)
        wait_until(lambda: executions(node.scorer_log, "begin"), 30, "the first scoring")
        kill(process)
    with running(node, seed=1):
        orthanc.wait_for_instances(3, timeout=30)
        time.sleep(SETTLE_SECONDS)
        assert 'facenorm_workflows{state="pending"} 0.0' in node.metrics()
    _one_of_each(orthanc, photographs)


def test_an_archive_that_is_away_gets_everything_later(node: NodeUnderTest, orthanc: OrthancPeer) -> None:
    (photograph,) = _photographs(node, 1)
    away = node.destination_port
    node.destination_port = free_port()
    with running(node):
        node.send(photograph)
        wait_until(lambda: 'state="due"} 2.0' in node.metrics(), 30, "two results")
        wait_until(lambda: "no_association" in node.facenorm("jobs").stdout, 30, "a failed attempt")
    node.destination_port = away
    with running(node):
        orthanc.wait_for_instances(2, timeout=30)
    _one_of_each(orthanc, [photograph])


def test_sigterm_ends_it_cleanly_even_in_mid_scoring(node: NodeUnderTest) -> None:
    (photograph,) = _photographs(node, 1)
    with running(node, seconds=60.0) as process:
        node.send(photograph)
        wait_until(lambda: executions(node.scorer_log, "begin"), 30, "the scoring")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - began < 15
    with running(node) as process:
        wait_until(lambda: executions(node.scorer_log, "end"), 30, "the resumed scoring")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert "Traceback" not in node.output


def test_a_second_node_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    node = NodeUnderTest(folder=tmp_path, destination_port=1)
    lock = FolderLock(node.data)
    refused = subprocess.run(node.command(seconds=0), capture_output=True, text=True, timeout=60, check=False)
    lock.release()
    assert refused.returncode == 1
    assert "another node works on the data folder" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("section", ["node", "status"])
def test_a_taken_port_is_named(tmp_path: Path, section: str) -> None:
    node = NodeUnderTest(folder=tmp_path, destination_port=1)
    port = node.port if section == "node" else node.status_port
    with socket.create_server((LOOPBACK, port)):
        refused = node.facenorm("serve")
    assert refused.returncode == 1
    assert f"port {port} on {LOOPBACK} is taken; set another {section}.port" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("scoring", "options", "reason"),
    [
        ("", ["--no-score"], "a node that does not score needs PostgreSQL"),
        ('on_device_fault = "hand_back"', [], "scoring.on_device_fault"),
        ('generator = "absent.safetensors"', [], "scoring.generator: there is no file"),
        ('generator = "nobody"', [], "scoring.generator"),
        ('regressor = "absent.json"', [], "scoring.regressor: there is no file"),
    ],
)
def test_what_keeps_it_from_scoring_is_told_before_it_listens(
    tmp_path: Path, scoring: str, options: list[str], reason: str
) -> None:
    refused = NodeUnderTest(folder=tmp_path, destination_port=1, scoring=scoring).facenorm("serve", *options)
    assert (refused.returncode, reason in refused.stderr) == (1, True), refused.stderr
    assert "receiver started" not in refused.stderr
    assert not (tmp_path / "data").exists()


def test_weights_that_were_not_fetched_are_told_before_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACENORM_CACHE", str(tmp_path / "cache"))
    refused = NodeUnderTest(folder=tmp_path, destination_port=1).facenorm("serve")
    assert (refused.returncode, "run `facenorm models fetch`" in refused.stderr) == (1, True), refused.stderr
    assert "receiver started" not in refused.stderr


@pytest.mark.parametrize(
    ("url", "status", "told"),
    [
        ("postgresql:hunter2", 2, "data.database_url: write postgresql://"),
        ("postgresql://u:x@hunter2:x@h/x", 2, "data.database_url: write postgresql://"),
        ("postgresql://u:hunter2@127.0.0.1:1/x", 1, "check data.database_url"),
    ],
)
def test_a_useless_database_ends_it_without_telling_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, status: int, told: str
) -> None:
    monkeypatch.setenv("FACENORM_DATA__DATABASE_URL", url)
    refused = NodeUnderTest(folder=tmp_path, destination_port=1).facenorm("serve")
    assert (refused.returncode, told in refused.stderr) == (status, True), refused.stderr
    assert "hunter2" not in refused.stderr
    assert "Traceback" not in refused.stderr
