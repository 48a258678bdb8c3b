"""Orthanc as the demo's PACS."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.demo.archive import AE_TITLE
from dicom_node.demo.child_process import last_lines, running_child
from dicom_node.demo.loopback import LOOPBACK, free_port, get_bytes, get_json
from dicom_node.demo.node_process import NODE_AE_TITLE
from dicom_node.demo.problem import DemoError

_START_SECONDS = 60.0


class Orthanc:
    """A running Orthanc, read over its REST interface."""

    def __init__(self, version: str, dicom_port: int, http_port: int) -> None:
        self.name = f"Orthanc {version}"
        self.port = dicom_port
        self._http_port = http_port
        self._known: dict[str, Dataset] = {}

    def objects(self) -> Sequence[Dataset]:
        """Return everything that it holds. Raises DemoError where it does not answer."""
        identifiers = get_json(self._http_port, "/instances")
        if not isinstance(identifiers, list):
            raise DemoError("the PACS does not answer any more")
        for identifier in set(identifiers) - self._known.keys():
            content = get_bytes(self._http_port, f"/instances/{identifier}/file")
            if content is not None:
                self._known[identifier] = dcmread(BytesIO(content))
        return list(self._known.values())


@contextmanager
def running_orthanc(binary: str, folder: Path) -> Iterator[Orthanc]:
    """Run Orthanc within the context, for this machine only. Raises DemoError where it does not start."""
    name, dicom_port, http_port = f"facenorm-demo-{uuid.uuid4()}", free_port(), free_port()
    settings, log = folder / "orthanc.json", folder / "orthanc.log"
    settings.write_text(json.dumps(_configuration(name, dicom_port, http_port, folder), indent=1))
    with running_child([binary, str(settings)], log) as process:
        deadline = time.monotonic() + _START_SECONDS
        # Its name tells it from another Orthanc that may have taken the port in the meantime.
        while (system := get_json(http_port, "/system") or {}).get("Name") != name:
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"Orthanc did not start; its log ends with:\n{last_lines(log)}")
            time.sleep(0.1)
        yield Orthanc(str(system.get("Version", "")), dicom_port, http_port)


def _configuration(name: str, dicom_port: int, http_port: int, folder: Path) -> dict[str, object]:
    # Orthanc takes DICOM associations on every address: only those from this machine may do anything.
    node = {"AET": NODE_AE_TITLE, "Host": LOOPBACK, "Port": 104, "AllowEcho": True, "AllowStore": True}
    return {
        "Name": name,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomAet": AE_TITLE,
        "DicomCheckCalledAet": True,
        "DicomPort": dicom_port,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomCheckModalityHost": True,
        "DicomModalities": {"node": node},
        "UnknownSopClassAccepted": True,
        "OverwriteInstances": False,
        "Plugins": [],
    }
