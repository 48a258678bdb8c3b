"""What the receiver's tests share: a running receiver, photographs, and looks into what it keeps."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session

from dicom_node.core import open_store
from dicom_node.receiver import Receiver
from dicom_node.settings import Settings
from storage.database import connect, migrate, sessions
from storage.tables import Base
from tests.peers import LOOPBACK, run_tool

CALLING = "CAMERA"
_Row = TypeVar("_Row", bound=Base)


@dataclass(frozen=True, slots=True)
class RunningReceiver:
    """A receiver that listens on loopback, with its folder and database."""

    port: int
    folder: Path
    engine: Engine

    def rows(self, table: type[_Row]) -> list[_Row]:
        with Session(self.engine) as session:
            return list(session.scalars(select(table)).all())

    def files(self, kind: str) -> list[Path]:
        return sorted(path for path in (self.folder / kind).rglob("*") if path.is_file())


def receiver_settings(folder: Path, **sections: Any) -> Settings:
    """Return settings on a free loopback port; `sections` are merged over them."""
    values: dict[str, Any] = {
        "node": {"port": 0},
        "data": {"folder": str(folder), "minimum_free_megabytes": 0},
        "senders": [{"ae_title": CALLING}],
    }
    for name, section in sections.items():
        values[name] = values.get(name, {}) | section if isinstance(section, dict) else section
    return Settings(**values)


@contextmanager
def running_receiver(folder: Path, **sections: Any) -> Iterator[RunningReceiver]:
    settings = receiver_settings(folder, **sections)
    store = open_store(settings)
    engine = connect(settings.database_url)
    migrate(engine)
    receiver = Receiver(settings, sessions=sessions(engine), store=store)
    receiver.start()
    try:
        yield RunningReceiver(receiver.port, folder, engine)
    finally:
        receiver.stop()
        engine.dispose()


def photograph(**attributes: Any) -> Dataset:
    """Return a small uncompressed Secondary Capture of a test patient, with `attributes` set on it."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.PatientName = "TEST^PATIENT"
    dataset.PatientID = "TEST-0001"
    dataset.IssuerOfPatientID = "TESTHOSPITAL"
    dataset.StudyDate = "20260301"
    dataset.AccessionNumber = "TEST-ACC-1"
    dataset.Modality = "OT"
    dataset.Rows = dataset.Columns = 64
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = np.arange(64 * 64 * 3).astype(np.uint8).tobytes()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def changed(dataset: Dataset, **attributes: Any) -> Dataset:
    """Return a copy of `dataset` with `attributes` set, or removed where None."""
    copy = deepcopy(dataset)
    for keyword, value in attributes.items():
        if value is None:
            delattr(copy, keyword)
        else:
            setattr(copy, keyword, value)
    return copy


def camera_file(folder: Path, *, visible_light: bool = True) -> Path:
    """Return a JPEG baseline photograph made by DCMTK's img2dcm."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "picture.jpg"
    gradient = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    Image.fromarray(gradient).save(picture, quality=90)
    made = folder / f"{generate_uid()}.dcm"
    run_tool(
        "img2dcm",
        *(["-vlp"] if visible_light else []),
        "-k", "PatientName=TEST^PATIENT",
        "-k", "PatientID=TEST-0002",
        "-k", "StudyDate=20260302",
        picture,
        made,
    )  # fmt: skip
    return made


@contextmanager
def association(
    receiver: RunningReceiver, *, calling: str = CALLING, called: str = "FACENORM", contexts: Any = None
) -> Iterator[Any]:
    """Open an association of pynetdicom's; the test looks itself whether it was accepted."""
    ae = AE(ae_title=calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
    for abstract, syntax in contexts or [(SecondaryCaptureImageStorage, ExplicitVRLittleEndian)]:
        ae.add_requested_context(abstract, syntax)
    opened = ae.associate(LOOPBACK, receiver.port, ae_title=called)
    try:
        yield opened
    finally:
        if opened.is_established:
            opened.release()
        if opened.ident is not None:
            opened.join(timeout=10)
        # pynetdicom leaves its socket open when the peer was killed.
        if opened.dul.socket is not None and opened.dul.socket.socket is not None:
            opened.dul.socket.socket.close()


def send(receiver: RunningReceiver, *datasets: Dataset) -> list[int]:
    """Send `datasets` over one association and return their statuses."""
    contexts = {(item.SOPClassUID, item.file_meta.TransferSyntaxUID) for item in datasets}
    with association(receiver, contexts=sorted(contexts)) as opened:
        assert opened.is_established
        return [opened.send_c_store(item).Status for item in datasets]


def send_encoded(opened: Any, named_as: Dataset, encoded: bytes) -> int:
    """Send `encoded` as it is under the names of `named_as`; return the status that answers it."""
    request = C_STORE()
    request.MessageID = 7
    request.AffectedSOPClassUID = named_as.SOPClassUID
    request.AffectedSOPInstanceUID = named_as.SOPInstanceUID
    request.Priority = 2
    request.DataSet = BytesIO(encoded)
    # As pynetdicom's own send_... methods do: its reactor must not take the answer.
    opened._reactor_checkpoint.clear()
    while not opened._is_paused:
        time.sleep(0.01)
    try:
        opened.dimse.send_msg(request, 1)
        _, answer = opened.dimse.get_msg(block=True)
    finally:
        opened._reactor_checkpoint.set()
    return int(answer.Status)


@contextmanager
def receiving_process(
    command: Sequence[str], folder: Path, port_file: Path, log: IO[bytes] | None = None
) -> Iterator[tuple[RunningReceiver, subprocess.Popen[bytes]]]:
    """A receiver in a process of its own, which `command` starts; it writes its port into `port_file`."""
    process = subprocess.Popen(command, stdout=log, stderr=log)
    engine = create_engine(f"sqlite:///{folder / 'facenorm.sqlite'}")
    try:
        deadline = time.monotonic() + 300
        while not (port_file.exists() and port_file.read_text()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield RunningReceiver(int(port_file.read_text()), folder, engine), process
    finally:
        engine.dispose()
        process.kill()
        process.wait(timeout=20)
