"""Real peers for the tests: Orthanc on loopback, and the tools that a test calls as programs.

A missing program skips the test and names the Debian package; with FACENORM_REQUIRE_PEERS=1 it fails instead.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import SystemRandom
from typing import Any

import httpx
import pydicom
import pytest

from tests.plain_http import get

LOOPBACK = "127.0.0.1"
PACKAGES = {
    "Orthanc": "orthanc",
    "chromium": "chromium",
    "node": "nodejs",
    "npm": "npm",
    "dciodvfy": "dicom3tools",
    "dcentvfy": "dicom3tools",
    "DicomSRValidator": "pixelmed-apps",
    "openssl": "openssl",
    "ojph_compress": "openjph-tools",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
    "setpriv": "util-linux",
    **dict.fromkeys(
        (
            "dcmcjpeg",
            "dcmcjpls",
            "dcmconv",
            "dcmcrle",
            "dcmdjpeg",
            "dcmdump",
            "dcmodify",
            "dcmquant",
            "dcmsend",
            "dsr2html",
            "dsrdump",
            "echoscu",
            "img2dcm",
            "movescu",
            "storescp",
            "storescu",
        ),
        "dcmtk",
    ),
}
ORTHANC_PLUGINS = (
    Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"),
    Path("/usr/local/share/orthanc/plugins/libOrthancDicomWeb.so"),
)


def _own_ports() -> Iterator[int]:
    """Yield in random order the ports of this process: pytest-xdist runs several at once."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = range(20_000 + worker, 32_000, workers)
    yield from SystemRandom().sample(ports, len(ports))


_ports = _own_ports()


def require(binary: str) -> str:
    """Return the path of `binary`; without it skip, or fail under FACENORM_REQUIRE_PEERS=1."""
    path = shutil.which(binary) or shutil.which(binary, path="/usr/sbin:/usr/local/sbin")
    if path is not None:
        return path
    message = f"{binary} is not installed; it comes with the Debian package {PACKAGES.get(binary, binary)}"
    if os.environ.get("FACENORM_REQUIRE_PEERS") == "1":
        pytest.fail(message)
    pytest.skip(message)


def run_tool(
    binary: str, *arguments: str | Path, timeout: float = 60, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a peer's program, standard error merged into `stdout`; `check`: a non-zero exit fails the test."""
    finished = subprocess.run(
        [require(binary), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=timeout,
        check=False,
    )
    if check and finished.returncode != 0:
        pytest.fail(f"{binary} exited with {finished.returncode}:\n{finished.stdout}")
    return finished


def free_port() -> int:
    """Return a TCP port that was free on loopback a moment ago; no other test or test process gets it.

    It lies below those that the system gives to whoever connects, or asks for any port.
    """
    for port in _ports:
        with socket.socket() as listener:
            try:
                listener.bind((LOOPBACK, port))
            except OSError:
                continue
        return port
    raise RuntimeError("no port is free")


@dataclass(frozen=True, slots=True)
class Modality:
    """A DICOM application that Orthanc knows, and may send to."""

    ae_title: str
    port: int
    host: str = LOOPBACK


class OrthancPeer:
    """A running Orthanc: where it listens, and a small REST client for what it holds."""

    def __init__(self, *, ae_title: str, dicom_port: int, http_port: int, folder: Path) -> None:
        self.ae_title = ae_title
        self.host = LOOPBACK
        self.dicom_port = dicom_port
        self.http_port = http_port
        self.folder = folder
        self.url = f"http://{LOOPBACK}:{http_port}"
        self._client = httpx.Client(base_url=self.url, timeout=30, trust_env=False, verify=False)

    def close(self) -> None:
        self._client.close()

    def get(self, path: str) -> Any:
        """Return the JSON answer to GET `path`."""
        answer = self._client.get(path)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, content: Any) -> Any:
        """POST `content` (bytes as they are, anything else as JSON) and return the JSON answer."""
        answer = (
            self._client.post(path, content=content)
            if isinstance(content, bytes)
            else self._client.post(path, json=content)
        )
        answer.raise_for_status()
        return answer.json()

    def instance_ids(self) -> list[str]:
        """Return Orthanc's own identifiers of all stored instances."""
        return sorted(self.get("/instances"))

    def instance_uids(self) -> list[str]:
        """Return the SOP Instance UIDs of all stored instances, repeated if stored repeatedly."""
        found = self.get("/instances?expand")
        return sorted(item["MainDicomTags"]["SOPInstanceUID"] for item in found)

    def files(self) -> list[bytes]:
        """Return every stored instance as PS3.10 bytes."""
        return [self._file(identifier) for identifier in self.instance_ids()]

    def datasets(self) -> list[pydicom.FileDataset]:
        """Return every stored instance, parsed."""
        return [pydicom.dcmread(BytesIO(content)) for content in self.files()]

    def reports(self) -> list[pydicom.FileDataset]:
        """Return every structured report, parsed; who waits for one need not fetch all pictures each time."""
        found = self.post("/tools/find", {"Level": "Instance", "Query": {"Modality": "SR"}})
        return [pydicom.dcmread(BytesIO(self._file(identifier))) for identifier in sorted(found)]

    def store(self, content: bytes) -> str:
        """Upload a PS3.10 file over HTTP; return Orthanc's identifier of the instance."""
        return str(self.post("/instances", content)["ID"])

    def wait_for_instances(self, count: int, *, timeout: float) -> list[str]:
        """Return the SOP Instance UIDs once `count` instances are held; fail after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while len(found := self.instance_uids()) < count:
            if time.monotonic() > deadline:
                pytest.fail(f"Orthanc holds {len(found)} instances after {timeout} s, {count} were expected")
            time.sleep(0.2)
        return found

    def _file(self, identifier: str) -> bytes:
        answer = self._client.get(f"/instances/{identifier}/file")
        answer.raise_for_status()
        return answer.content


def _configuration(
    *,
    name: str,
    ae_title: str,
    dicom_port: int,
    http_port: int,
    folder: Path,
    modalities: Sequence[Modality],
    extra: Mapping[str, object],
) -> dict[str, object]:
    """Return Orthanc's settings: loopback HTTP, everything in `folder`, DICOMweb where it is installed."""
    return {
        "Name": name,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomAet": ae_title,
        "DicomPort": dicom_port,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "DicomCheckModalityHost": False,
        "UnknownSopClassAccepted": True,
        "OverwriteInstances": False,
        "StableAge": 1,
        "Plugins": [str(path) for path in ORTHANC_PLUGINS if path.exists()][:1],
        "DicomModalities": {
            modality.ae_title: {
                "AET": modality.ae_title,
                "Host": modality.host,
                "Port": modality.port,
                "AllowEcho": True,
                "AllowFind": True,
                "AllowMove": True,
                "AllowGet": True,
                "AllowStore": True,
                "AllowStorageCommitment": True,
            }
            for modality in modalities
        },
        **extra,
    }


def _answers(url: str, name: str) -> bool:
    """Whether the server at `url` is the Orthanc that we named `name`, not another one on that port."""
    try:
        answer = get(f"{url}/system", timeout=2)
        return bool(answer.json()["Name"] == name)
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return False


@contextmanager
def running_orthanc(
    folder: Path,
    *,
    ae_title: str = "ORTHANC",
    modalities: Sequence[Modality] = (),
    dicom_port: int | None = None,
    http_port: int | None = None,
    extra: Mapping[str, object] | None = None,
) -> Iterator[OrthancPeer]:
    """Run Orthanc on loopback with its data in `folder`; stop it at the end.

    Start it again on the same folder and it still holds what it held.
    """
    binary = require("Orthanc")
    folder.mkdir(parents=True, exist_ok=True)
    name = f"facenorm-test-{uuid.uuid4()}"
    dicom_port = dicom_port or free_port()
    http_port = http_port or free_port()
    settings = folder / "orthanc.json"
    settings.write_text(
        json.dumps(
            _configuration(
                name=name,
                ae_title=ae_title,
                dicom_port=dicom_port,
                http_port=http_port,
                folder=folder,
                modalities=modalities,
                extra=extra or {},
            )
        )
    )
    with (folder / "orthanc.log").open("ab") as log:
        process = subprocess.Popen([binary, str(settings)], stdout=log, stderr=subprocess.STDOUT)
        peer = OrthancPeer(ae_title=ae_title, dicom_port=dicom_port, http_port=http_port, folder=folder)
        try:
            deadline = time.monotonic() + 30
            while not _answers(peer.url, name):
                if process.poll() is not None or time.monotonic() > deadline:
                    tail = (folder / "orthanc.log").read_text(errors="replace")[-2000:]
                    pytest.fail(f"Orthanc did not start:\n{tail}")
                time.sleep(0.05)
            yield peer
        finally:
            peer.close()
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=20)
