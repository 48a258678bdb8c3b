"""The department of `deploy/compose`, as processes on loopback instead of containers.

Everything but Grafana: Orthanc with the routing script, PostgreSQL, a node that does not score, two workers,
Prometheus with its rules, and the exporter that asks /health. The settings are the composition's own; the
environment sets addresses, ports and folders, as `compose.yaml` does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.acceptance.documents import REPOSITORY
from tests.faces import generated_face
from tests.integration.running_node import TOKEN, wait_until, write_photograph
from tests.peers import LOOPBACK, OrthancPeer, free_port, require, running_orthanc
from tests.plain_http import get, is_healthy
from tests.postgresql import PostgresPeer
from tests.tiny import TINY_GENERATOR

DEPLOY = REPOSITORY / "deploy"
SETTINGS = DEPLOY / "compose" / "facenorm.toml"
STUDIES = 2


@dataclass(frozen=True)
class _Department:
    folder: Path
    database_url: str
    orthanc: int = field(default_factory=free_port)
    node: int = field(default_factory=free_port)
    node_status: int = field(default_factory=free_port)
    workers: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))
    prometheus: int = field(default_factory=free_port)
    blackbox: int = field(default_factory=free_port)

    @property
    def environment(self) -> Mapping[str, str]:
        """What differs from the composition: names of services are addresses of this machine here."""
        archive = {"ae_title": "ORTHANC", "host": LOOPBACK}
        return {
            "FACENORM_DATA__FOLDER": str(self.folder / "data"),
            "FACENORM_DATA__DATABASE_URL": self.database_url,
            "FACENORM_DATA__MINIMUM_FREE_MEGABYTES": "0",
            "FACENORM_NODE__PORT": str(self.node),
            "FACENORM_STATUS__PORT": str(self.node_status),
            "FACENORM_STATUS__TOKEN": TOKEN,
            "FACENORM_SENDERS": json.dumps([archive]),
            "FACENORM_DESTINATIONS": json.dumps([archive | {"port": self.orthanc}]),
            "FACENORM_TRIGGER__QUIET_SECONDS": "0.5",
            "FACENORM_SCORING__GENERATOR": str(TINY_GENERATOR),
            "FACENORM_SCORING__DEVICE": "cpu",
        }

    def facenorm(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("facenorm")), *arguments, "--config", str(SETTINGS)]

    @contextmanager
    def running(self, name: str, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("FACENORM_")}
        cache = {k: os.environ[k] for k in ("FACENORM_CACHE",) if k in os.environ}
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env={**kept, **cache, **self.environment}
            )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)

    @contextmanager
    def archive(self) -> Iterator[OrthancPeer]:
        composed = json.loads((DEPLOY / "compose" / "orthanc.json").read_text())
        modalities = composed["DicomModalities"]
        modalities["facenorm"] |= {"Host": LOOPBACK, "Port": self.node}
        (script,) = composed["LuaScripts"]
        routing = {
            "DicomModalities": modalities,
            "LuaScripts": [str(DEPLOY / "orthanc" / Path(script).name)],
            "LuaHeartBeatPeriod": composed["LuaHeartBeatPeriod"],
        }
        with running_orthanc(self.folder / "orthanc", dicom_port=self.orthanc, extra=routing) as peer:
            yield peer

    def prometheus_command(self) -> list[str]:
        """Write the composition's configuration with addresses of this machine, asking every second."""
        text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
        (self.folder / "token").write_text(TOKEN)
        for name, here in {
            "node:8080": f"{LOOPBACK}:{self.node_status}",
            "worker-1:8080": f"{LOOPBACK}:{self.workers[0]}",
            "worker-2:8080": f"{LOOPBACK}:{self.workers[1]}",
            "blackbox:9115": f"{LOOPBACK}:{self.blackbox}",
            "/run/secrets/status_token": str(self.folder / "token"),
            "facenorm.rules.yml": str(DEPLOY / "prometheus" / "facenorm.rules.yml"),
            "interval: 15s": "interval: 2s",
            "timeout: 10s": "timeout: 2s",
        }.items():
            assert name in text
            text = text.replace(name, here)
        path = self.folder / "prometheus.yml"
        path.write_text(text)
        return [
            require("prometheus"),
            f"--config.file={path}",
            f"--storage.tsdb.path={self.folder / 'tsdb'}",
            f"--web.listen-address={LOOPBACK}:{self.prometheus}",
        ]

    def blackbox_command(self) -> list[str]:
        """Return that of the exporter, with the module that its image brings."""
        path = self.folder / "blackbox.yml"
        path.write_text("modules: {http_2xx: {prober: http, timeout: 2s}}\n")
        listen = f"--web.listen-address={LOOPBACK}:{self.blackbox}"
        return [require("prometheus-blackbox-exporter"), f"--config.file={path}", listen]

    def asked(self, query: str) -> dict[str, float]:
        """Return what Prometheus answers: the labels in words -> value."""
        url = f"http://{LOOPBACK}:{self.prometheus}/api/v1/query"
        answer = get(url, params={"query": query}, timeout=10).json()
        return {_words(one["metric"]): float(one["value"][1]) for one in answer["data"]["result"]}

    def rules(self) -> list[dict[str, str]]:
        url = f"http://{LOOPBACK}:{self.prometheus}/api/v1/rules"
        groups = get(url, timeout=10).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


def _words(labels: Mapping[str, str]) -> str:
    return " ".join(labels[name] for name in ("job", "role", "status", "state") if name in labels)


@pytest.fixture
def department(tmp_path: Path, postgresql: PostgresPeer) -> _Department:
    return _Department(tmp_path, postgresql.database())


@pytest.mark.real_weights
def test_photographs_that_orthanc_gets_come_back_scored_by_both_workers_and_prometheus_sees_it(
    department: _Department,
) -> None:
    with ExitStack() as stack:
        orthanc = stack.enter_context(department.archive())
        _start(department, stack)
        photographs = [
            write_photograph(
                department.folder,
                f"1.2.826.0.1.3680043.9.5.{number}",
                picture=generated_face(3 + 2 * number),
                study=f"1.2.826.0.1.3680043.9.6.{number}",
            )
            for number in range(STUDIES)
        ]
        for photograph in photographs:
            orthanc.store(photograph.read_bytes())
        wait_until(lambda: len(orthanc.reports()) == STUDIES, 120, "a report of each study")
        _prometheus_knows(department)
        measured = 'facenorm_stage_seconds_count{stage="normalize"} '
        for port in department.workers:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            url = f"http://{LOOPBACK}:{port}/metrics"
            metrics = get(url, headers=headers).text
            assert measured in metrics, "each worker has scored"
        sources = {
            str(item.ReferencedSOPInstanceUID)
            for report in orthanc.reports()
            for evidence in report.CurrentRequestedProcedureEvidenceSequence
            for series in evidence.ReferencedSeriesSequence
            for item in series.ReferencedSOPSequence
        }
        assert {photograph.stem for photograph in photographs} <= sources
    # Photographs were sent to the node; what came back to Orthanc was not.
    received = (department.folder / "node.log").read_text()
    assert received.count('"event": "c-store answered"') == STUDIES


def _start(department: _Department, stack: ExitStack) -> None:
    """Start everything in the order of the composition; return once all of it answers."""
    migrated = stack.enter_context(department.running("migrate", department.facenorm("migrate")))
    assert migrated.wait(timeout=60) == 0
    for name, command in {
        "node": department.facenorm("serve", "--no-score"),
        "blackbox": department.blackbox_command(),
        "prometheus": department.prometheus_command(),
    }.items():
        stack.enter_context(department.running(name, command))
    wait_until(lambda: is_healthy(department.node_status), 60, "the node")
    for number, port in enumerate(department.workers, 1):
        command = department.facenorm("worker", "--status-port", str(port))
        stack.enter_context(department.running(f"worker-{number}", command))
    for port in department.workers:
        wait_until(lambda p=port: is_healthy(p), 120, "a worker")


def _prometheus_knows(department: _Department) -> None:
    everybody = {"facenorm node": 1.0, "facenorm worker": 1.0, "facenorm-health node": 1.0}
    everybody["facenorm-health worker"] = 1.0
    wait_until(lambda: department.asked("min by (job, role) (up)") == everybody, 30, "every target to be up")
    healthy = {"facenorm-health node": 1.0, "facenorm-health worker": 1.0}
    wait_until(lambda: department.asked("min by (job, role) (probe_success)") == healthy, 30, "health")
    wait_until(
        lambda: (
            department.asked('facenorm_scorings_total{status="scored"}') == {"facenorm node scored": STUDIES}
        ),
        30,
        "the scorings",
    )
    assert department.asked("facenorm_workers")["facenorm node alive"] == 2
    rules = department.rules()
    assert len(rules) > 5
    assert [rule["health"] for rule in rules] == ["ok"] * len(rules)
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
