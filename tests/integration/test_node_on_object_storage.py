"""A node, and workers, whose files lie in a bucket: all but copies is there, and nothing is lost."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

from pydicom.uid import SecondaryCaptureImageStorage

from tests.integration.running_node import STUDY, NodeUnderTest, running, wait_until, write_photograph
from tests.integration.running_workers import working
from tests.peers import OrthancPeer
from tests.postgresql import PostgresPeer
from tests.s3_server import Place, running_s3
from tests.small_scorer import executions

# The photograph and what its scoring kept; then the image and the report, which are sent.
_SENT = {"normalized_photograph": 1, "structured_report": 1}
_ONE_OF_EACH = {"photograph": 1, "pictures": 1, **_SENT}


def _node(folder: Path, place: Place, destination: OrthancPeer, **settings: Any) -> NodeUnderTest:
    folder.mkdir()
    return NodeUnderTest(
        folder=folder, destination_port=destination.dicom_port, files=place.lines, **settings
    )


def _kinds(paths: list[str]) -> dict[str, int]:
    return dict(Counter(path.partition("/")[0] for path in paths))


def _copies(node: NodeUnderTest) -> dict[str, int]:
    """Return how many copies of each kind lie in the data folder; fails the test for any other file there."""
    cache = node.data / "cache"
    return _kinds([str(path.relative_to(cache)) for path in node.data.rglob("*.dcm")])


def test_a_worker_with_a_data_folder_of_its_own_scores_what_the_node_received(
    tmp_path: Path, bucket: Place, orthanc: OrthancPeer, postgresql: PostgresPeer
) -> None:
    database_url = postgresql.database()
    node = _node(tmp_path / "node", bucket, orthanc, scores=False, database_url=database_url)
    elsewhere = _node(tmp_path / "elsewhere", bucket, orthanc, database_url=database_url)
    photograph = write_photograph(node.folder, f"{STUDY}.7")
    with running(node), working(elsewhere):
        node.send(photograph)
        wait_until(lambda: 'facenorm_deliveries{state="delivered"} 2.0' in node.metrics(), 60, "results")
        assert "chore_failures_total{" not in node.metrics()
    (image,) = (item for item in orthanc.datasets() if item.SOPClassUID == SecondaryCaptureImageStorage)
    assert image.SourceImageSequence[0].ReferencedSOPInstanceUID == photograph.stem
    assert len(orthanc.instance_ids()) == 2
    assert executions(elsewhere.scorer_log, "end") == [photograph.stem]
    assert _kinds(bucket.paths()) == _ONE_OF_EACH
    assert _copies(node) == _SENT
    assert _copies(elsewhere)["photograph"] == 1


def test_what_was_computed_waits_for_a_bucket_that_is_away(
    tmp_path: Path, orthanc: OrthancPeer, credentials: None
) -> None:
    with running_s3() as server:
        node = _node(tmp_path / "node", Place(server, timeout_seconds=0.5), orthanc)
        photograph = write_photograph(node.folder, f"{STUDY}.7")
        with running(node, seconds=1.0):
            node.send(photograph)
            wait_until(lambda: executions(node.scorer_log, "begin"), 30, "the scoring")
            assert server.process
            server.process.send_signal(signal.SIGSTOP)
            wait_until(lambda: "waiting for object storage" in node.output, 30, "what the node makes of it")
            server.process.send_signal(signal.SIGCONT)
            wait_until(lambda: len(orthanc.instance_ids()) == 2, 60, "image and report")
    assert executions(node.scorer_log, "begin") == [photograph.stem]
    assert "step failed" not in node.output
