"""A PACS of a few lines for machines without Orthanc: a Storage SCP (PS3.4 Annex B) for the demo alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    AllTransferSyntaxes,
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    SecondaryCaptureImageStorage,
)
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_node.demo.archive import AE_TITLE
from dicom_node.demo.loopback import LOOPBACK
from dicom_node.received_dataset import is_uid

_SUCCESS, _CANNOT_UNDERSTAND = 0x0000, 0xC000
_TIMEOUT_SECONDS = 30.0


class StorageScp:
    """Keeps every object that it gets as one file, named after its SOP Instance UID."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = "built-in Storage SCP"
        self.port = 0

    def store(self, event: Any) -> int:  # noqa: ANN401 -- pynetdicom is untyped
        """Answer a C-STORE request with its status, once the object is a whole file."""
        uid = str(event.request.AffectedSOPInstanceUID)
        if not is_uid(uid):
            return _CANNOT_UNDERSTAND
        partial = self._folder / f"{uid}.part"
        partial.write_bytes(event.encoded_dataset())
        partial.replace(self._folder / f"{uid}.dcm")
        return _SUCCESS

    def objects(self) -> Sequence[Dataset]:
        """Return everything that it holds."""
        return [dcmread(path) for path in sorted(self._folder.glob("*.dcm"))]


@contextmanager
def running_storage_scp(folder: Path) -> Iterator[StorageScp]:
    """Serve on loopback, in threads of this process, within the context."""
    scp = StorageScp(folder)
    entity = AE(ae_title=AE_TITLE)
    entity.require_called_aet = True
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _TIMEOUT_SECONDS
    entity.add_supported_context(Verification)
    for sop_class in (Comprehensive3DSRStorage, EncapsulatedPDFStorage, SecondaryCaptureImageStorage):
        entity.add_supported_context(sop_class, AllTransferSyntaxes)
    server: Any = entity.start_server(
        (LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, scp.store), (evt.EVT_C_ECHO, _echo)]
    )
    scp.port = int(server.socket.getsockname()[1])
    try:
        yield scp
    finally:
        server.shutdown()
        entity.shutdown()


def _echo(_event: Any) -> int:  # noqa: ANN401
    return _SUCCESS
