"""A node that does not score, and workers beside it, on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from pydicom.uid import SecondaryCaptureImageStorage

from tests.integration.running_node import NodeUnderTest, running, wait_until, write_photograph
from tests.integration.running_workers import PROMPT, working
from tests.peers import free_port, running_orthanc
from tests.postgresql import PostgresPeer


def _node(tmp_path: Path, postgresql: PostgresPeer) -> NodeUnderTest:
    (tmp_path / "node").mkdir()
    return NodeUnderTest(
        folder=tmp_path / "node",
        destination_port=free_port(),
        database_url=postgresql.database(),
        scores=False,
        further=PROMPT,
    )


def test_a_worker_scores_what_the_node_receives_and_sends(tmp_path: Path, postgresql: PostgresPeer) -> None:
    node = _node(tmp_path, postgresql)
    photograph = write_photograph(node.folder, "1.2.826.0.1.3680043.9.1.7")
    with running_orthanc(tmp_path / "orthanc", dicom_port=node.destination_port) as orthanc, running(node):
        node.send(photograph)
        with working(node) as workers:
            wait_until(lambda: len(orthanc.instance_ids()) == 2, 60, "image and report")
            assert 'facenorm_workers{state="alive"} 1.0' in node.metrics()
            assert workers[0].end() == 0
        assert 'facenorm_workers{state="alive"} 0.0' in node.metrics()
        (image,) = (item for item in orthanc.datasets() if item.SOPClassUID == SecondaryCaptureImageStorage)
        assert image.SourceImageSequence[0].ReferencedSOPInstanceUID == photograph.stem
        assert "Studies in the queue: 0" in node.facenorm("jobs").stdout
