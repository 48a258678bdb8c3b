"""Orthanc and the node under the configuration in `deploy/`, with the commands that README.md names."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import pydicom
import pytest
from PIL import Image
from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage, generate_uid

from tests.acceptance.documents import REPOSITORY, blocks, table
from tests.faces import generated_face
from tests.integration.running_node import NodeUnderTest, running, wait_until
from tests.peers import LOOPBACK, OrthancPeer, free_port, run_tool, running_orthanc
from tests.tiny import TINY_GENERATOR

ORTHANC = REPOSITORY / "deploy" / "orthanc"
SETTINGS = REPOSITORY / "deploy" / "facenorm.toml"
PATIENT_ID, STUDY = "TEST-ORTHANC-1", "1.2.826.0.1.3680043.9.77"


@dataclass(kw_only=True)
class DocumentedNode(NodeUnderTest):
    """`facenorm serve` on `deploy/facenorm.toml`; the environment sets only ports, folder and generator."""

    @property
    def config(self) -> Path:
        return SETTINGS

    def command(self, *, seconds: float, seed: int = 0) -> list[str]:
        program = str(Path(sys.executable).with_name("facenorm"))
        return [program, "serve", "--config", str(self.config)]

    @property
    def environment(self) -> dict[str, str]:
        destination = {"ae_title": "ORTHANC", "host": LOOPBACK, "port": self.destination_port}
        return {
            "FACENORM_NODE__PORT": str(self.port),
            "FACENORM_STATUS__PORT": str(self.status_port),
            "FACENORM_DATA__FOLDER": str(self.data),
            "FACENORM_DATA__MINIMUM_FREE_MEGABYTES": "0",
            "FACENORM_TRIGGER__QUIET_SECONDS": "0.5",
            "FACENORM_SCORING__GENERATOR": str(TINY_GENERATOR),
            "FACENORM_DESTINATIONS": json.dumps([destination]),
        }


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DocumentedNode:
    for name in [name for name in os.environ if name.startswith("FACENORM_") and name != "FACENORM_CACHE"]:
        if name != "FACENORM_REQUIRE_PEERS":
            monkeypatch.delenv(name)
    node = DocumentedNode(folder=tmp_path, destination_port=free_port())
    for name, value in node.environment.items():
        monkeypatch.setenv(name, value)
    return node


@contextmanager
def documented_orthanc(node: DocumentedNode, *, autoroute: bool) -> Iterator[OrthancPeer]:
    """Run Orthanc with `deploy/orthanc/facenorm.json` and otherwise as strict as it can be."""
    fragment = json.loads((ORTHANC / "facenorm.json").read_text())
    fragment["DicomModalities"]["facenorm"]["Port"] = node.port
    (script,) = fragment["LuaScripts"]
    fragment["LuaScripts"] = [_script(node.folder, Path(script).name)] if autoroute else []
    strict = {
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomCheckModalityHost": True,
        "DicomCheckCalledAet": True,
        "UnknownSopClassAccepted": False,
    }
    with running_orthanc(
        node.folder / "orthanc", dicom_port=node.destination_port, extra=strict | fragment
    ) as peer:
        yield peer


def _script(folder: Path, name: str) -> str:
    """Write the script with its optional line in force: then its other condition has something to do."""
    optional = "-- ['1.2.840.10008.5.1.4.1.1.7']"
    text = (ORTHANC / name).read_text()
    assert text.count(optional) == 1
    (folder / name).write_text(text.replace(optional, optional.removeprefix("-- ")))
    return str(folder / name)


@pytest.fixture
def photograph(tmp_path: Path) -> bytes:
    """A VL Photographic Image with JPEG baseline, as DCMTK makes one of a camera's file."""
    jpeg, dicom = tmp_path / "photo.jpg", tmp_path / "photo.dcm"
    Image.fromarray(generated_face(15)).save(jpeg, quality=92)
    keys = [
        part
        for key in ("PatientName=TEST^PATIENT", f"PatientID={PATIENT_ID}", f"StudyInstanceUID={STUDY}")
        for part in ("-k", key)
    ]
    run_tool("img2dcm", "-vlp", *keys, jpeg, dicom)
    return dicom.read_bytes()


def documented_requests() -> list[tuple[str, str]]:
    """Return (path, body) of the README's curl commands to Orthanc."""
    lines = [line for block in blocks(REPOSITORY / "README.md", "sh") for line in block.lines]
    words = [shlex.split(line) for line in lines if line.startswith("curl ")]
    assert [w[2] for w in words] == ["-d"] * len(words)
    return [(w[1].removeprefix("http://localhost:8042"), w[3]) for w in words]


def post(orthanc: OrthancPeer, path: str, body: str) -> httpx.Response:
    answer = httpx.post(f"{orthanc.url}{path}", content=body, timeout=60, trust_env=False, verify=False)
    assert answer.status_code == 200, f"{path}: {answer.text}"
    return answer


def test_a_study_sent_by_the_documented_requests_comes_back_scored(
    node: DocumentedNode, photograph: bytes
) -> None:
    (echo, nothing), (lookup, study), (store, identifier) = documented_requests()
    assert (study, identifier) == ("$STUDY_INSTANCE_UID", "$ORTHANC_ID")
    with documented_orthanc(node, autoroute=False) as orthanc, running(node):
        orthanc.store(photograph)
        post(orthanc, echo, nothing)
        (found,) = post(orthanc, lookup, STUDY).json()
        assert found["Type"] == "Study"
        sent = post(orthanc, store, found["ID"]).json()
        assert (sent["InstancesCount"], sent["FailedInstancesCount"]) == (1, 0)
        _results_arrive(orthanc)
        _history_shows_it(node)
    _data_folder_is_as_documented(node.data)


@pytest.mark.torture
def test_the_script_sends_again_what_the_node_did_not_take(node: DocumentedNode, photograph: bytes) -> None:
    with documented_orthanc(node, autoroute=True) as orthanc:
        missed = orthanc.store(photograph)
        wait_until(lambda: _failed_sendings(orthanc), 30, "the sending to fail while no node runs")
        with running(node):
            orthanc.store(_of_another_study(photograph))
            wait_until(lambda: missed in _sent(orthanc), 30, "the photograph that was missed")
            # Of each the photograph, report, page, three pictures; without dates there is no trend.
            orthanc.wait_for_instances(12, timeout=90)
            time.sleep(3)
    assert node.output.count("c-store answered") == 2


def _of_another_study(photograph: bytes) -> bytes:
    dataset = pydicom.dcmread(BytesIO(photograph))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, keyword, generate_uid())
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    content = BytesIO()
    dataset.save_as(content)
    return content.getvalue()


def _failed_sendings(orthanc: OrthancPeer) -> bool:
    jobs = orthanc.get("/jobs?expand")
    return any((job["Type"], job["State"]) == ("DicomModalityStore", "Failure") for job in jobs)


def _sent(orthanc: OrthancPeer) -> set[str]:
    """Return Orthanc's identifiers of the instances that a job has sent."""
    jobs = orthanc.get("/jobs?expand")
    return {name for job in jobs if job["State"] == "Success" for name in job["Content"]["ParentResources"]}


def _results_arrive(orthanc: OrthancPeer) -> None:
    # The photograph; report, page; normalized, in place, comparison.
    orthanc.wait_for_instances(6, timeout=90)
    found = {str(dataset.SOPClassUID): dataset for dataset in orthanc.datasets()}
    for sop_class in (Comprehensive3DSRStorage, SecondaryCaptureImageStorage):
        assert found[sop_class].StudyInstanceUID == STUDY
        assert found[sop_class].PatientID == PATIENT_ID


def _history_shows_it(node: DocumentedNode) -> None:
    history: subprocess.CompletedProcess[str] = node.facenorm("history", PATIENT_ID, "--json")
    assert history.returncode == 0, history.stderr
    (entry,) = json.loads(history.stdout)
    assert (entry["status"], entry["study_instance_uid"]) == ("scored", STUDY)
    wait_until(lambda: "5 delivered" in node.facenorm("jobs").stdout, 30, "every delivery")


def _data_folder_is_as_documented(folder: Path) -> None:
    rows = table(REPOSITORY / "docs" / "operations.md", "The data folder")
    documented = {name.rstrip("/") for row in rows for name in row["inside"].split(", ")}
    found = {re.sub(r"-(wal|shm)$", "", path.name) for path in folder.iterdir()}
    assert found == documented - {"quarantine", "trend"}  # a trend needs a second encounter
    assert folder.stat().st_mode & 0o077 == 0
    assert not any("TEST" in path.name for path in folder.rglob("*"))
