"""The node as the demo and other tests use it: in this process, one after the other."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from dicom_node import calling_side
from dicom_node.commands.serve import run_node
from dicom_node.commitment_dataset import build_request
from dicom_node.commitment_scu import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from dicom_node.core import NodeError
from dicom_node.echo import VERIFICATION
from dicom_node.node import Node
from dicom_node.scorer_loading import ScorerUnusableError, load_scorer
from dicom_node.settings import Settings
from dicom_node.settings_sections import Data, Destination, Scoring, Sender, Status, Tls
from dicom_node.settings_sections import Node as NodeSettings
from dicom_node.tls import listening_context
from dicom_node.worker import Worker
from pipeline.quality_thresholds import QualityThresholds
from tests.certificates import Identity, authority
from tests.command import process_as_it_was
from tests.integration.running_node import wait_until
from tests.peers import LOOPBACK, run_tool
from tests.plain_http import get
from tests.small_scorer import SmallScorer
from tests.tiny import TINY_GENERATOR
from tests.told_scorer import ToldScorer


def _settings(folder: Path, database_url: str = "") -> Settings:
    data = Data(folder=folder, database_url=database_url)
    return Settings(node=NodeSettings(port=0), data=data, status=Status(port=0))


def test_nodes_start_and_stop_one_after_the_other(tmp_path: Path, database_url: str) -> None:
    for _ in range(2):
        node = Node(_settings(tmp_path, database_url), scorer_factory=partial(SmallScorer, tmp_path / "log"))
        node.start()
        health = get(f"http://{LOOPBACK}:{node.status_port}/health")
        refused = run_tool("echoscu", "-aec", "FACENORM", LOOPBACK, str(node.port), check=False)
        assert node.stop()
        assert (health.status_code, health.json()["reasons"]) == (200, {})
        assert refused.returncode != 0  # nobody may call where no senders are configured


@pytest.mark.parametrize(
    ("scoring", "message"),
    [
        (Scoring(device="cuda:99"), r"scoring\.device"),
        (Scoring(generator="nobody"), r"scoring\.generator"),
        (Scoring(generator=str(TINY_GENERATOR), regressor="absent.json"), r"scoring\.regressor"),
    ],
)
def test_settings_that_no_scorer_can_be_made_of_are_named(scoring: Scoring, message: str) -> None:
    with pytest.raises(ScorerUnusableError, match=message):
        load_scorer(scoring, QualityThresholds())


def test_a_scorer_that_cannot_be_made_leaves_nothing_running(tmp_path: Path) -> None:
    fail = partial(ToldScorer, tmp_path / "born", "the weights are missing")
    with pytest.raises(NodeError, match="the weights are missing"):
        Node(_settings(tmp_path), scorer_factory=fail).start()
    # The folder's lock is free again.
    node = Node(_settings(tmp_path), scorer_factory=partial(SmallScorer, tmp_path / "log"))
    node.start()
    with pytest.raises(NodeError, match="another node"):
        Node(_settings(tmp_path), scorer_factory=fail).start()
    assert node.stop()


def test_a_renewed_certificate_is_shown_to_destinations_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling_side, "_ECHO_SECONDS", 0.1)
    trusted, shown = authority(tmp_path / "trusted"), list[str]()
    before, renewed, archive = (trusted.identity(name) for name in ("before", "renewed", "archive"))
    tls = _tls(before, trusted.certificate)

    def see(event: Any) -> None:
        certificate = event.assoc.dul.socket.socket.getpeercert()
        shown.append(dict(part[0] for part in certificate["subject"])["commonName"])

    entity = AE(ae_title="PACS")
    entity.add_supported_context(VERIFICATION)
    server = entity.start_server(
        (LOOPBACK, 0),
        block=False,
        evt_handlers=[(evt.EVT_CONN_OPEN, see)],
        ssl_context=listening_context(_tls(archive, trusted.certificate)),
    )
    pacs = Destination(ae_title="PACS", host=LOOPBACK, port=server.server_address[1], tls=True)
    settings = _settings(tmp_path / "data").model_copy(update={"tls": tls, "destinations": (pacs,)})
    node = Node(settings, scorer_factory=partial(SmallScorer, tmp_path / "log"))
    try:
        node.start()
        wait_until(lambda: "before" in shown, 20, "a call")
        for old, new in ((before.certificate, renewed.certificate), (before.key, renewed.key)):
            old.write_bytes(new.read_bytes())
        assert node.reload(settings) == []
        wait_until(lambda: "renewed" in shown, 5, "a call with the renewed certificate")
    finally:
        node.stop()
        server.shutdown()


def test_a_sender_that_comes_with_a_reload_gets_its_report_of_commitment(tmp_path: Path) -> None:
    reports: list[Dataset] = []

    def take(event: Any) -> tuple[int, None]:
        reports.append(event.event_information)
        return 0x0000, None

    entity = AE(ae_title="CAMERA")
    entity.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
    entity.add_requested_context(STORAGE_COMMITMENT)
    server = entity.start_server((LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)])
    camera = Sender(ae_title="CAMERA", host=LOOPBACK, commitment_port=server.server_address[1])
    settings = _settings(tmp_path / "data")
    node = Node(settings, scorer_factory=partial(SmallScorer, tmp_path / "log"))
    try:
        node.start()
        assert node.reload(settings.model_copy(update={"senders": (camera,)})) == []
        asking = entity.associate(LOOPBACK, node.port, ae_title="FACENORM")
        request = build_request("1.2.3.4", [("1.2.840.10008.5.1.4.1.1.7", "1.2.3.5")])
        status, _ = asking.send_n_action(request, 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
        assert status.Status == 0x0000
        asking.release()
        wait_until(lambda: reports, 10, "the report")
    finally:
        node.stop()
        server.shutdown()
    assert [str(report.TransactionUID) for report in reports] == ["1.2.3.4"]


def _tls(identity: Identity, trusted: Path) -> Tls:
    return Tls(certificate=str(identity.certificate), private_key=str(identity.key), trusted=str(trusted))


def test_a_signal_ends_it_while_the_weights_load(tmp_path: Path) -> None:
    born = tmp_path / "born"

    def interrupt() -> None:
        while not born.exists():
            sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    began = monotonic()
    with process_as_it_was(), ThreadPoolExecutor(1) as other:
        other.submit(interrupt)
        assert run_node(_settings(tmp_path), partial(ToldScorer, born, loads_seconds=60)) == 0
    assert monotonic() - began < 40


def test_a_damaged_queue_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "dbos.sqlite").write_bytes(b"no database at all")
    node = Node(_settings(tmp_path), scorer_factory=partial(SmallScorer, tmp_path / "log"))
    with pytest.raises(NodeError, match=r"dbos\.sqlite.*move it away"):
        node.start()


def test_a_worker_whose_port_is_taken_names_its_option(tmp_path: Path) -> None:
    (tmp_path / "node.lock").touch()
    with socket.create_server((LOOPBACK, 0)) as other:
        worker = Worker(
            _settings(tmp_path, "postgresql://nobody@127.0.0.1:1/none"),
            scorer_factory=partial(SmallScorer, tmp_path / "log"),
            status_port=other.getsockname()[1],
        )
        with pytest.raises(NodeError, match="set another --status-port"):
            worker.start()
