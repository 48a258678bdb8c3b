"""A node that does not score, and workers beside it, on PostgreSQL."""

from __future__ import annotations

import json
import re
import resource
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from tests.integration.running_node import (
    PATIENT_ID,
    STUDY,
    NodeUnderTest,
    running,
    wait_until,
    write_photograph,
)
from tests.integration.running_workers import PROMPT, working
from tests.peers import free_port, running_orthanc
from tests.postgresql import PostgresPeer
from tests.small_scorer import executions


def _node(tmp_path: Path, postgresql: PostgresPeer, *, further: str = "") -> NodeUnderTest:
    (tmp_path / "node").mkdir()
    return NodeUnderTest(
        folder=tmp_path / "node",
        destination_port=free_port(),
        database_url=postgresql.database(),
        scores=False,
        further=further,
    )


def test_a_worker_scores_what_the_node_receives_and_what_waits_together(
    tmp_path: Path, postgresql: PostgresPeer
) -> None:
    node = _node(tmp_path, postgresql)
    # Two in one study, and one in each of three others.
    studies = [f"{STUDY}.{max(0, n - 1)}" for n in range(5)]
    photographs = [write_photograph(node.folder, f"{STUDY}.9.{n}", study=s) for n, s in enumerate(studies)]
    uids = {path.stem for path in photographs}
    with running_orthanc(tmp_path / "orthanc", dicom_port=node.destination_port) as orthanc, running(node):
        with working(node, seconds=1.0, at_once=4) as workers:
            with working(node):  # of another kind: what it takes at once is its own affair
                pass
            assert resource.prlimit(workers[0].process.pid, resource.RLIMIT_CORE) == (0, 0)
            node.send(*photographs)
            wait_until(lambda: len(orthanc.instance_ids()) == 5 + 4, 60, "images and reports")
            assert 'facenorm_workers{state="alive"} 1.0' in node.metrics()
            assert workers[0].end() == 0
        assert 'facenorm_workers{state="alive"} 0.0' in node.metrics()
        images = [item for item in orthanc.datasets() if item.SOPClassUID == SecondaryCaptureImageStorage]
        assert {image.SourceImageSequence[0].ReferencedSOPInstanceUID for image in images} == uids
        assert "Studies in the queue: 0" in node.facenorm("jobs").stdout
    batches = [int(number) for number in executions(node.scorer_log, "batch")]
    assert sum(batches) == 5, "no photograph was scored twice"
    assert max(batches) > 2, batches
    assert Counter(executions(node.scorer_log, "begin")) == dict.fromkeys(uids, 1)


@pytest.mark.torture
def test_a_worker_that_comes_back_late_records_and_delivers_nothing_again(
    tmp_path: Path, postgresql: PostgresPeer
) -> None:
    node = _node(tmp_path, postgresql, further=PROMPT)
    first, second = (write_photograph(node.folder, f"{STUDY}.{n}", study=f"{STUDY}.{n}") for n in (1, 2))
    with (
        running_orthanc(tmp_path / "orthanc", dicom_port=node.destination_port) as orthanc,
        running(node),
        working(node, seconds=1.0) as late,
    ):
        node.send(first)
        wait_until(lambda: executions(node.scorer_log, "begin"), 30, "the first scoring")
        late[0].process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: _workers(node) == (0, 1), 30, "the worker to be missed")
            with working(node):
                wait_until(lambda: len(orthanc.instance_ids()) == 2, 60, "the results of another")
                late[0].process.send_signal(signal.SIGCONT)
                wait_until(lambda: _workers(node) == (2, 0), 30, "the late worker")
                wait_until(lambda: "done by another worker" in node.output, 30, "what it makes of it")
                time.sleep(1)
        finally:
            late[0].process.send_signal(signal.SIGCONT)
        assert len(orthanc.instance_ids()) == 2
        assert 'facenorm_scorings_total{status="scored"} 1.0' in node.metrics()
        # It is of use again.
        node.send(second)
        wait_until(lambda: len(orthanc.instance_ids()) == 4, 60, "the results of the second photograph")
    assert len(executions(node.scorer_log, "begin")) == 3
    assert node.output.count("report done") == 2


def test_workers_refuse_sqlite_and_a_folder_that_no_node_knows(
    tmp_path: Path, postgresql: PostgresPeer
) -> None:
    node = _node(tmp_path, postgresql)
    assert "no node has worked on the data folder" in _refusal(node, "worker")
    node.database_url = ""
    assert "workers need PostgreSQL" in _refusal(node, "worker")


def _refusal(node: NodeUnderTest, *command: str) -> str:
    done = node.facenorm(*command)
    assert done.returncode == 1
    return done.stderr


def _workers(node: NodeUnderTest) -> tuple[int, int]:
    """Return how many workers are alive and how many have gone, as the node's metrics say."""
    lines = dict(line.rsplit(" ", 1) for line in node.metrics().splitlines() if line[:1] != "#")
    alive, gone = (float(lines[f'facenorm_workers{{state="{state}"}}']) for state in ("alive", "gone"))
    return int(alive), int(gone)


def test_what_a_lost_gpu_was_to_do_is_handed_back_or_done_on_the_cpu(
    tmp_path: Path, postgresql: PostgresPeer
) -> None:
    node = _node(tmp_path, postgresql)
    node.scoring = 'on_device_fault = "hand_back"'
    photograph = write_photograph(node.folder, f"{STUDY}.7")
    with (
        running_orthanc(tmp_path / "orthanc", dicom_port=node.destination_port) as orthanc,
        running(node),
    ):
        node.send(photograph)
        with working(node, fault="lost") as lost:
            assert lost[0].process.wait(timeout=60) == 1
            wait_until(lambda: _workers(node) == (0, 0), 20, "it to have taken leave")
            assert "Studies in the queue: 1" in node.facenorm("jobs").stdout
        assert re.search(r"device fault +outcome=handed_back reason=lost", node.output)
        assert "the GPU failed" in node.output
        node.scoring = 'on_device_fault = "cpu"'
        with working(node, fault="lost") as workers:
            wait_until(lambda: len(orthanc.instance_ids()) == 2, 60, "image and report")
            assert 'facenorm_device_faults_total{fault="lost",then="cpu"} 1.0' in workers[0].metrics()
    assert executions(node.scorer_log, "end") == [photograph.stem]
    (entry,) = json.loads(node.facenorm("history", PATIENT_ID, "--json").stdout)
    assert (entry["device"], entry["batch"], entry["device_fault"]) == ("cpu", 1, "lost")


def test_a_node_that_scores_itself_cannot_hand_back(tmp_path: Path, postgresql: PostgresPeer) -> None:
    node = _node(tmp_path, postgresql)
    node.scores, node.scoring = True, 'on_device_fault = "hand_back"'
    assert "only `facenorm worker` can hand back" in _refusal(node, "serve")
