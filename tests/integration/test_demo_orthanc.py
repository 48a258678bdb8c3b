"""The demo's Orthanc: it stores what the node sends, and nothing from anybody else."""

from __future__ import annotations

from pathlib import Path

from dicom_node.demo.archive import AE_TITLE, ArchiveKind, running_archive
from dicom_node.demo.node_process import NODE_AE_TITLE
from tests.peers import LOOPBACK, require, run_tool
from tests.report_samples import secondary_capture


def test_only_the_node_may_store(tmp_path: Path) -> None:
    require("Orthanc")
    photograph = tmp_path / "photograph.dcm"
    secondary_capture(1).save_as(photograph)

    def store(title: str, port: int) -> int:
        return run_tool(
            "storescu", "-aet", title, "-aec", AE_TITLE, LOOPBACK, str(port), str(photograph), check=False
        ).returncode

    with running_archive(ArchiveKind.ORTHANC, tmp_path / "pacs") as archive:
        assert store("STRANGER", archive.port) != 0
        assert archive.objects() == []
        assert store(NODE_AE_TITLE, archive.port) == 0
        assert len(archive.objects()) == 1
