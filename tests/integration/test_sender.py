"""The sender against DCMTK's storescp, Orthanc, and peers that misbehave."""

from __future__ import annotations

import hashlib
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    VLPhotographicImageStorage,
)
from pynetdicom import AE, evt

from dicom_node.calling_side import CallingSide
from dicom_node.core import open_core
from dicom_node.sender import ASSOCIATION_REJECTED, NO_ASSOCIATION, Outcome, Sender, Verdict
from dicom_node.settings_sections import Destination
from storage.deliveries import dead
from tests.peers import LOOPBACK, OrthancPeer, free_port, require
from tests.receiving import receiver_settings
from tests.unit.rows import NOON, add_object

SENDER = Sender(ae_title="FACENORM", connect_seconds=2, association_seconds=2, response_seconds=2)
# For what a busy machine may take its time over.
PATIENT = Sender(ae_title="FACENORM", connect_seconds=20, association_seconds=20, response_seconds=20)


@dataclass(frozen=True)
class _Peer:
    ae_title: str
    port: int
    host: str = LOOPBACK
    tls: bool = False


def _file(
    folder: Path,
    uid: str,
    sop_class: str = SecondaryCaptureImageStorage,
    *,
    study: str = "1.2.826.0.1.1",
    pixels: int = 192,
) -> Path:
    """Write a small colour image of a test patient; return its path."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.1"
    dataset.PatientName, dataset.PatientID = "TEST^PATIENT", "TEST-1"
    dataset.Modality = "OT"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 8, 8, 3
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = np.arange(pixels).astype(np.uint8).tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / f"{uid}.dcm"
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


def _body(content: bytes) -> str:
    """Return the sha256 of a PS3.10 file's data set, without preamble and meta information."""
    stream = BytesIO(content)
    meta = dcmread(stream, stop_before_pixels=True, specific_tags=[]).file_meta
    # Preamble, prefix, and the group length element with the group that it counts.
    start = 132 + 12 + meta.FileMetaInformationGroupLength
    return hashlib.sha256(content[start:]).hexdigest()


@contextmanager
def _storescp(folder: Path, *arguments: str) -> Iterator[int]:
    folder.mkdir()
    port = free_port()
    process = subprocess.Popen(
        [require("storescp"), *arguments, "--output-directory", str(folder), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((LOOPBACK, port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait(timeout=10)


def _verdicts(outcomes: list[Outcome]) -> list[tuple[Verdict, str | None]]:
    return [(outcome.verdict, outcome.error) for outcome in outcomes]


def test_storescp_receives_the_kept_bytes_unchanged(tmp_path: Path) -> None:
    files = [
        _file(tmp_path, f"1.2.826.0.1.{n}", sop)
        for n, sop in enumerate((SecondaryCaptureImageStorage, VLPhotographicImageStorage), start=5)
    ]
    with _storescp(tmp_path / "in", "--bit-preserving") as port:
        outcomes = SENDER.send(_Peer("ANY", port), files)
    assert _verdicts(outcomes) == [(Verdict.DELIVERED, None)] * 2
    received = sorted(_body(path.read_bytes()) for path in (tmp_path / "in").iterdir())
    assert received == sorted(_body(path.read_bytes()) for path in files)


def test_sending_again_leaves_one_object_in_orthanc(tmp_path: Path, orthanc: OrthancPeer) -> None:
    files = [_file(tmp_path, "1.2.826.0.1.5"), _file(tmp_path, "1.2.826.0.1.6")]
    peer = _Peer(orthanc.ae_title, orthanc.dicom_port)
    for _ in range(2):
        assert _verdicts(SENDER.send(peer, files)) == [(Verdict.DELIVERED, None)] * 2
    assert orthanc.instance_uids() == ["1.2.826.0.1.5", "1.2.826.0.1.6"]
    assert sorted(map(_body, orthanc.files())) == sorted(_body(path.read_bytes()) for path in files)


def test_nobody_listens(tmp_path: Path) -> None:
    outcomes = SENDER.send(_Peer("ANY", free_port()), [_file(tmp_path, "1.2.826.0.1.5")])
    assert _verdicts(outcomes) == [(Verdict.TRANSIENT, "no_association")]


def test_a_peer_that_never_answers_is_given_up_after_the_timeout(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:
        began = time.monotonic()
        outcomes = SENDER.send(_Peer("ANY", silent.getsockname()[1]), [_file(tmp_path, "1.2.826.0.1.5")])
    assert _verdicts(outcomes) == [(Verdict.TRANSIENT, "no_association")]
    assert time.monotonic() - began < 10


def test_a_peer_that_refuses_our_title_may_accept_it_later(tmp_path: Path) -> None:
    with _storescp(tmp_path / "in", "--refuse") as port:
        (outcome,) = PATIENT.send(_Peer("ANY", port), [_file(tmp_path, "1.2.826.0.1.5")])
    # storescp closes at once, and what it has sent may be lost by that.
    assert outcome in (ASSOCIATION_REJECTED, NO_ASSOCIATION)
    assert outcome.verdict is Verdict.TRANSIENT


def test_a_rejection_is_told_from_a_peer_that_is_not_there(tmp_path: Path) -> None:
    entity = AE(ae_title="PEER")
    entity.add_supported_context(SecondaryCaptureImageStorage)
    entity.require_called_aet = True
    server = entity.start_server((LOOPBACK, 0), block=False)
    port = server.server_address[1]
    try:
        outcomes = PATIENT.send(_Peer("OTHER", port), [_file(tmp_path, "1.2.826.0.1.5")])
    finally:
        server.shutdown()
    outcomes += PATIENT.send(_Peer("OTHER", port), [_file(tmp_path, "1.2.826.0.1.5")])
    assert outcomes == [ASSOCIATION_REJECTED, NO_ASSOCIATION]


def test_a_class_that_the_peer_does_not_take_is_permanent_for_that_object_only(tmp_path: Path) -> None:
    files = [_file(tmp_path, "1.2.826.0.1.5", ComprehensiveSRStorage), _file(tmp_path, "1.2.826.0.1.6")]
    with _scp(lambda event: 0x0000) as port:
        outcomes = SENDER.send(_Peer("ANY", port), files)
    assert _verdicts(outcomes) == [(Verdict.PERMANENT, "no_accepted_context"), (Verdict.DELIVERED, None)]


def test_a_peer_that_takes_none_of_the_classes(tmp_path: Path) -> None:
    with _scp(lambda event: 0x0000) as port:
        outcomes = SENDER.send(_Peer("ANY", port), [_file(tmp_path, "1.2.826.0.1.5", ComprehensiveSRStorage)])
    assert _verdicts(outcomes) == [(Verdict.PERMANENT, "no_accepted_context")]


def test_a_file_that_is_gone_or_no_dicom_is_permanent_for_that_object_only(tmp_path: Path) -> None:
    junk = tmp_path / "junk.dcm"
    junk.write_bytes(b"not DICOM at all" * 20)
    files = [tmp_path / "gone.dcm", _file(tmp_path, "1.2.826.0.1.5"), junk]
    with _scp(lambda event: 0x0000) as port:
        outcomes = SENDER.send(_Peer("ANY", port), files)
    assert _verdicts(outcomes) == [
        (Verdict.PERMANENT, "unreadable_file"),
        (Verdict.DELIVERED, None),
        (Verdict.PERMANENT, "unreadable_file"),
    ]


def test_a_damaged_result_is_given_up_unsent_and_holds_up_no_other(tmp_path: Path) -> None:
    arrived: list[str] = []

    def store(event: evt.Event) -> int:
        arrived.append(event.request.AffectedSOPInstanceUID)
        return 0x0000

    with _scp(store) as port:
        pacs = Destination(ae_title="PACS", host=LOOPBACK, port=port)
        settings = receiver_settings(tmp_path / "data").model_copy(update={"destinations": (pacs,)})
        core = open_core(settings)
        content = {uid: _file(tmp_path, uid).read_bytes() for uid in ("1.2.6.1", "1.2.6.2", "1.2.6.3")}
        for uid, damage in zip(content, ((b"UI", b"UK"), (bytes(range(9)), bytes(9)), None), strict=True):
            path = core.store.write("comparison", uid, content[uid]).path
            if damage:
                core.store.absolute(path).write_bytes(content[uid].replace(*damage, 1))
            with core.sessions.begin() as session:
                add_object(session, uid, ["PACS"], path=path)
        calling = CallingSide(settings, core, clock=lambda: NOON, random=Random(1), tls=lambda: None)
        calling.work["deliver to PACS"][1]()
        with core.sessions() as session:
            given_up = [(one.sop_instance_uid, one.error) for one in dead(session)]
        core.close()
    assert given_up == [("1.2.6.1", "unreadable_file"), ("1.2.6.2", "unreadable_file")]
    assert arrived == ["1.2.6.3"]


def test_a_file_that_cannot_be_read_just_now_is_tried_again(tmp_path: Path) -> None:
    looped = tmp_path / "looped.dcm"  # it is there, and opening it is an OSError whoever runs the test
    looped.symlink_to(looped)
    files = [looped, _file(tmp_path, "1.2.826.0.1.5")]
    with _storescp(tmp_path / "in") as port:
        outcomes = SENDER.send(_Peer("ANY", port), files)
    assert _verdicts(outcomes) == [(Verdict.TRANSIENT, "file_not_read"), (Verdict.DELIVERED, None)]


def test_a_host_name_that_is_not_known_may_be_known_later(tmp_path: Path) -> None:
    files = [_file(tmp_path, "1.2.826.0.1.5"), tmp_path / "absent.dcm"]
    outcomes = SENDER.send(_Peer("ANY", 104, "nobody.invalid"), files)
    assert _verdicts(outcomes) == [
        (Verdict.TRANSIENT, "no_association"),
        (Verdict.PERMANENT, "unreadable_file"),
    ]


def test_a_connection_that_the_peer_resets_is_tried_again(tmp_path: Path) -> None:
    def reset(server: socket.socket) -> None:
        connection, _ = server.accept()
        connection.recv(1)
        # Lingering for no time, a socket is closed with a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with socket.create_server((LOOPBACK, 0)) as server:
        thread = threading.Thread(target=reset, args=(server,))
        thread.start()
        outcomes = SENDER.send(_Peer("ANY", server.getsockname()[1]), [_file(tmp_path, "1.2.826.0.1.5")])
        thread.join(timeout=10)
    assert _verdicts(outcomes) == [(Verdict.TRANSIENT, "no_association")]


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(0xA700, Verdict.TRANSIENT), (0xA900, Verdict.PERMANENT), (0xC001, Verdict.PERMANENT)],
)
def test_a_status_over_the_wire(tmp_path: Path, status: int, verdict: Verdict) -> None:
    with _scp(lambda event: status) as port:
        outcomes = SENDER.send(_Peer("ANY", port), [_file(tmp_path, "1.2.826.0.1.5")])
    assert _verdicts(outcomes) == [(verdict, f"status_{status:04X}")]


def test_an_association_lost_in_mid_batch(tmp_path: Path) -> None:
    def drop_the_second(event: evt.Event) -> int:
        if event.request.AffectedSOPInstanceUID == "1.2.826.0.1.6":
            event.assoc.abort()
        return 0x0000

    files = [_file(tmp_path, f"1.2.826.0.1.{n}") for n in (5, 6, 7)]
    with _scp(drop_the_second) as port:
        outcomes = SENDER.send(_Peer("ANY", port), files)
    assert _verdicts(outcomes) == [
        (Verdict.DELIVERED, None),
        (Verdict.TRANSIENT, "association_lost"),
        (Verdict.NOT_TRIED, None),
    ]


def test_a_peer_that_hangs_over_an_object_is_given_up_after_the_timeout(tmp_path: Path) -> None:
    release = threading.Event()

    def hang(event: evt.Event) -> int:
        release.wait(30)
        return 0x0000

    with _scp(hang) as port:
        began = time.monotonic()
        outcomes = SENDER.send(_Peer("ANY", port), [_file(tmp_path, "1.2.826.0.1.5")])
        elapsed = time.monotonic() - began
        release.set()
    assert _verdicts(outcomes) == [(Verdict.TRANSIENT, "association_lost")]
    assert elapsed < 10


def test_a_slow_line_is_no_peer_that_does_not_answer(tmp_path: Path) -> None:
    large = _file(tmp_path, "1.2.826.0.1.5", pixels=3 * 2400**2)
    with _scp(lambda _: 0x0000) as port, _slow_line(port, bytes_a_second=3_000_000) as slow:
        began = time.monotonic()
        outcomes = SENDER.send(_Peer("ANY", slow), [large, _file(tmp_path, "1.2.826.0.1.6")])
        assert time.monotonic() - began > 2 * SENDER.response_seconds
    assert _verdicts(outcomes) == [(Verdict.DELIVERED, None)] * 2


def test_a_peer_that_stops_in_the_midst_of_a_large_object_is_given_up(tmp_path: Path) -> None:
    large = _file(tmp_path, "1.2.826.0.1.5", pixels=3 * 3200**2)
    with _scp(lambda _: 0x0000) as port, _slow_line(port, bytes_a_second=1_000_000, seconds=1) as slow:
        began = time.monotonic()
        outcomes = SENDER.send(_Peer("ANY", slow), [large])
        assert time.monotonic() - began < 15
    assert _verdicts(outcomes) == [(Verdict.TRANSIENT, "association_lost")]


@contextmanager
def _slow_line(port: int, *, bytes_a_second: int, seconds: float = 60) -> Iterator[int]:
    """Pass on what a client sends at this speed for so long, and what the server answers at once."""
    opened: list[socket.socket] = []
    until = time.monotonic() + seconds

    def up(client: socket.socket, server: socket.socket) -> None:
        while time.monotonic() < until and (data := client.recv(bytes_a_second // 20)):
            server.sendall(data)
            time.sleep(len(data) / bytes_a_second)

    def down(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65_536):
                client.sendall(data)

    def take(listener: socket.socket) -> None:
        with suppress(OSError):
            pair = (listener.accept()[0], socket.create_connection((LOOPBACK, port)))
            opened.extend(pair)
            threading.Thread(target=down, args=pair, daemon=True).start()
            up(*pair)

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        listener.bind((LOOPBACK, 0))
        listener.listen()
        threading.Thread(target=take, args=(listener,), daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            for one in opened:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()


@contextmanager
def _scp(answer: object) -> Iterator[int]:
    """A pynetdicom SCP that takes Secondary Capture only and answers as told."""
    entity = AE(ae_title="ANY")
    entity.add_supported_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian)
    server = entity.start_server((LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def test_an_association_whose_end_pynetdicom_would_await_for_ever_is_cut_off() -> None:
    entity = AE(ae_title="PEER")
    entity.add_supported_context(SecondaryCaptureImageStorage)
    server = entity.start_server((LOOPBACK, 0), block=False)
    try:
        peer = _Peer("PEER", server.server_address[1])
        association = SENDER.associate(peer, [(SecondaryCaptureImageStorage, None)])
        assert association.is_established
        association._reactor_checkpoint.clear()
        while not association._is_paused:
            time.sleep(0.001)
        # What the thread that answers an event report does at its end, whatever the reactor does.
        association._is_paused = False
        began = time.monotonic()
        SENDER.release(association)
        assert 2 <= time.monotonic() - began < 10
        assert not association.is_established
        association.join(timeout=10)
        assert not association.is_alive()
    finally:
        server.shutdown()
