"""What an administrator sees and does while the node runs: page, metrics, SIGHUP."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from pydicom.uid import VLPhotographicImageStorage

from dicom_node.caller import Caller
from tests.integration.running_node import (
    PATIENT_ID,
    STUDY,
    TOKEN,
    NodeUnderTest,
    running,
    wait_until,
    write_photograph,
)
from tests.peers import LOOPBACK, OrthancPeer, run_tool
from tests.plain_http import get


@pytest.fixture
def node(tmp_path: Path, orthanc: OrthancPeer) -> NodeUnderTest:
    (tmp_path / "node").mkdir()
    return NodeUnderTest(folder=tmp_path / "node", destination_port=orthanc.dicom_port)


class _Peer:
    def __init__(self, port: int) -> None:
        self.port = port

    host, ae_title, tls = LOOPBACK, "FACENORM", False


def _page(node: NodeUnderTest, query: str = "") -> str:
    answer = get(f"http://{LOOPBACK}:{node.status_port}/{query}", auth=("", TOKEN), timeout=10)
    assert answer.status_code == 200
    return answer.text


def test_the_page_and_a_reload_under_an_open_association(node: NodeUnderTest, orthanc: OrthancPeer) -> None:
    photograph = write_photograph(node.folder, f"{STUDY}.10")
    with running(node) as process:
        opened = Caller(ae_title="CAMERA").associate(_Peer(node.port), [(VLPhotographicImageStorage, None)])
        assert opened.is_established
        refused = run_tool(
            "echoscu", "-aet", "LATER", "-aec", "FACENORM", LOOPBACK, str(node.port), check=False
        )
        assert refused.returncode != 0
        node.further = '[[senders]]\nae_title = "LATER"\n'
        node.delivery = "max_attempts = 7"
        assert node.config.exists()  # written anew
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "were read again" in node.output, 20, "the reload")
        assert "after a restart only: delivery.max_attempts" in node.output
        run_tool("echoscu", "-aet", "LATER", "-aec", "FACENORM", LOOPBACK, str(node.port))
        # The association from before is still good.
        assert opened.send_c_store(photograph).Status == 0x0000
        opened.release()
        path = node.config
        path.write_text(path.read_text() + "\nnonsense = 1\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "nothing was changed" in node.output, 20, "the refused reload")
        orthanc.wait_for_instances(2, timeout=60)
        wait_until(lambda: 'state="delivered"} 2.0' in node.metrics(), 30, "both deliveries")
        plain, named = _page(node), _page(node, "?patients=yes")
        metrics = node.metrics()
    for text in ("facenorm is ready", STUDY, "small-test-generator", "brightness", f":{orthanc.dicom_port}"):
        assert text in plain
    assert PATIENT_ID not in plain
    assert PATIENT_ID in named
    assert "facenorm_disk_free_bytes" in metrics
    assert "facenorm_workers" not in metrics, "a node that scores by itself has none"
    free = next(line for line in metrics.splitlines() if line.startswith("facenorm_disk_free_bytes "))
    assert float(free.split()[1]) > 1e6
