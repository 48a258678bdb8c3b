"""The receiver against DCMTK's and pynetdicom's senders."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.uid import (
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    VLPhotographicImageStorage,
    generate_uid,
)
from pynetdicom.dsutils import encode
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from dicom_node.receiver import TRANSFER_SYNTAXES
from pipeline.photograph import read_photograph
from storage.tables import Artefact, AuditEvent, Encounter, Patient, Photograph
from tests.peers import LOOPBACK, run_tool
from tests.pictures import ENCODED, known_rgb
from tests.receiving import (
    CALLING,
    RunningReceiver,
    association,
    camera_file,
    changed,
    photograph,
    running_receiver,
    send,
    send_encoded,
)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[RunningReceiver]:
    with running_receiver(tmp_path / "data") as running:
        yield running


def storescu(
    receiver: RunningReceiver, *arguments: str | Path, calling: str = CALLING, check: bool = True
) -> str:
    options = ["-v", "-to", "20", "-aet", calling, "-aec", "FACENORM"]
    return run_tool(
        "storescu", *options, *arguments[:-1], LOOPBACK, str(receiver.port), arguments[-1], check=check
    ).stdout


def test_echo_is_answered(receiver: RunningReceiver) -> None:
    run_tool("echoscu", "-to", "20", "-aet", CALLING, "-aec", "FACENORM", LOOPBACK, str(receiver.port))


@pytest.mark.parametrize("visible_light", [True, False])
def test_a_jpeg_photograph_is_kept_as_it_came(
    receiver: RunningReceiver, tmp_path: Path, visible_light: bool
) -> None:
    sent = camera_file(tmp_path, visible_light=visible_light)
    storescu(receiver, "-xy", sent)

    (row,) = receiver.rows(Photograph)
    data = (receiver.folder / row.path).read_bytes()
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (row.sha256, row.size_bytes)
    original, kept = dcmread(sent), dcmread(receiver.folder / row.path)
    assert kept == original
    assert kept.file_meta.TransferSyntaxUID == JPEGBaseline8Bit == row.transfer_syntax_uid
    assert kept.file_meta.MediaStorageSOPInstanceUID == original.SOPInstanceUID == row.sop_instance_uid
    assert row.sop_class_uid == (
        VLPhotographicImageStorage if visible_light else SecondaryCaptureImageStorage
    )
    assert row.calling_ae_title == CALLING
    run_tool("dcmdump", receiver.folder / row.path)
    (encounter,) = receiver.rows(Encounter)
    assert (encounter.study_instance_uid, encounter.study_date) == (original.StudyInstanceUID, "20260302")
    assert encounter.last_received_at == row.received_at
    assert [patient.patient_id for patient in receiver.rows(Patient)] == ["TEST-0002"]


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # as in the node
def test_identifiers_whose_bytes_are_not_of_the_character_set_make_no_patient(
    receiver: RunningReceiver,
) -> None:
    statuses = []
    for letter in (b"\xdc", b"\xd6"):  # of Latin-1: in UTF-8 both are the same replacement character
        named = photograph(SpecificCharacterSet="ISO_IR 192", PatientID="TEST?1")
        encoded = encode(named, False, True)
        assert encoded is not None
        with association(receiver) as opened:
            statuses.append(send_encoded(opened, named, encoded.replace(b"TEST?1", b"TEST" + letter + b"1")))
    assert statuses == [0xC000, 0xC000]
    assert receiver.rows(Patient) == []
    assert len(receiver.files("quarantine")) == 2


# One file for each transfer syntax that is accepted, none of them encoded by us.
_ENCODERS = {
    uid.ExplicitVRLittleEndian: "dcmtk ybr_full native",
    uid.ImplicitVRLittleEndian: "dcmtk implicit",
    uid.DeflatedExplicitVRLittleEndian: "dcmtk deflated",
    uid.ExplicitVRBigEndian: "dcmtk big endian",
    uid.RLELossless: "dcmtk rle",
    uid.JPEGBaseline8Bit: "dcmtk baseline 422",
    uid.JPEGExtended12Bit: "dcmtk extended",
    uid.JPEGLossless: "dcmtk lossless",
    uid.JPEGLosslessSV1: "dcmtk lossless sv1",
    uid.JPEGLSLossless: "dcmtk jpeg-ls",
    uid.JPEGLSNearLossless: "dcmtk jpeg-ls near",
    uid.JPEG2000Lossless: "gdcm jpeg 2000 lossless",
    uid.JPEG2000: "gdcm jpeg 2000",
    uid.HTJ2KLossless: "openjph lossless",
    uid.HTJ2KLosslessRPCL: "openjph lossless rpcl",
    uid.HTJ2K: "openjph",
}


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_every_transfer_syntax_is_kept_as_it_came_and_decodes(
    receiver: RunningReceiver, tmp_path: Path, syntax: uid.UID
) -> None:
    encode_file, tolerance = ENCODED[_ENCODERS[syntax]]
    encoded = encode_file(tmp_path)
    sent = dcmread(encoded)
    assert sent.file_meta.TransferSyntaxUID == syntax
    contexts = [(sent.SOPClassUID, syntax)]
    with association(receiver, contexts=contexts) as opened:
        # As bytes: a data set would be encoded anew.
        assert opened.send_c_store(encoded).Status == 0x0000
    (row,) = receiver.rows(Photograph)
    assert row.transfer_syntax_uid == syntax
    kept = receiver.folder / row.path
    assert _body(kept) == _body(encoded)
    assert np.abs(read_photograph(kept).astype(int) - known_rgb()).mean() <= tolerance


def _body(file: Path) -> bytes:
    """Return the data set's bytes, without the file meta information."""
    content = file.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


@pytest.mark.parametrize(
    ("encoder", "proposal"),
    [(("dcmconv", "+td"), "-xd"), (("dcmcjpeg", "+eb"), "-xy"), (("dcmcjpls", "+el"), "-xt")],
    ids=lambda value: value[-1] if isinstance(value, tuple) else None,
)
def test_compressed_files_come_from_dcmtks_own_sender(
    receiver: RunningReceiver, tmp_path: Path, encoder: tuple[str, ...], proposal: str
) -> None:
    plain, encoded = tmp_path / "plain.dcm", tmp_path / "encoded.dcm"
    photograph().save_as(plain, enforce_file_format=True)
    run_tool(*encoder, plain, encoded)
    storescu(receiver, proposal, encoded)
    (row,) = receiver.rows(Photograph)
    assert dcmread(receiver.folder / row.path) == dcmread(encoded)


def test_the_bytes_of_an_uncompressed_dataset_are_kept_exactly(
    receiver: RunningReceiver, tmp_path: Path
) -> None:
    source = photograph()
    source.add_new(0x00091001, "UN", b"private\0")
    source.save_as(tmp_path / "sent.dcm", enforce_file_format=True)
    assert send(receiver, source) == [0x0000]
    (row,) = receiver.rows(Photograph)

    assert _body(receiver.folder / row.path) == _body(tmp_path / "sent.dcm")


def test_a_large_photograph_comes_in_large_parts_and_whole(receiver: RunningReceiver) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (1000, 1100, 3), np.uint8)
    source = photograph(Rows=1000, Columns=1100, PixelData=pixels.tobytes())
    with association(receiver) as opened:
        assert opened.acceptor.maximum_length == 128 * 1024
        assert opened.send_c_store(source).Status == 0x0000
    (row,) = receiver.rows(Photograph)
    assert np.array_equal(dcmread(receiver.folder / row.path).pixel_array, pixels)


def test_an_unknown_calling_ae_title_is_rejected_with_its_reason(receiver: RunningReceiver) -> None:
    with association(receiver, calling="STRANGER") as opened:
        assert opened.is_rejected
        answer = opened.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 3)
    arguments = ("-v", "-aet", "STRANGER", "-aec", "FACENORM", LOOPBACK, str(receiver.port))
    said = run_tool("echoscu", *arguments, check=False)
    assert said.returncode != 0
    assert "Calling AE Title Not Recognized" in said.stdout


def test_another_called_ae_title_is_rejected_and_logged(receiver: RunningReceiver) -> None:
    with capture_logs() as logs, association(receiver, called="SOMEBODY") as opened:
        assert opened.is_rejected
        answer = opened.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 7)
    (refused,) = (entry for entry in logs if entry["event"] == "association refused")
    assert (refused["calling_ae_title"], refused["called_ae_title"]) == (CALLING, "SOMEBODY")
    assert refused["reason"] == "called_by_another_title"


@pytest.mark.parametrize(
    ("host", "accepted"), [("127.0.0.1", True), ("localhost", True), ("192.0.2.1", False), ("", True)]
)
def test_a_sender_must_call_from_its_host(tmp_path: Path, host: str, accepted: bool) -> None:
    senders = [{"ae_title": CALLING, "host": host}]
    with running_receiver(tmp_path / "data", senders=senders) as receiver, association(receiver) as opened:
        assert opened.is_established is accepted


def test_nobody_listed_admits_nobody(tmp_path: Path) -> None:
    with running_receiver(tmp_path / "data", senders=[]) as receiver, association(receiver) as opened:
        assert opened.is_rejected


def test_classes_that_are_no_photographs_are_not_accepted(receiver: RunningReceiver) -> None:
    classes = (
        SecondaryCaptureImageStorage,
        ComprehensiveSRStorage,
        MultiFrameTrueColorSecondaryCaptureImageStorage,
    )
    with association(receiver, contexts=[(item, ExplicitVRLittleEndian) for item in classes]) as opened:
        assert [context.abstract_syntax for context in opened.accepted_contexts] == [classes[0]]


def test_sending_again_succeeds_and_changes_nothing(receiver: RunningReceiver) -> None:
    source = photograph()
    assert send(receiver, source) == [0x0000]
    before = (receiver.files("photograph"), receiver.rows(Encounter)[0].last_received_at)
    assert send(receiver, source) == [0x0000]
    assert (receiver.files("photograph"), receiver.rows(Encounter)[0].last_received_at) == before
    assert len(receiver.rows(Photograph)) == 1
    assert [row.outcome for row in receiver.rows(AuditEvent)] == ["stored", "already_stored"]


def test_other_content_under_the_same_uid_is_refused(receiver: RunningReceiver) -> None:
    source = photograph()
    assert send(receiver, source, changed(source, StudyDescription="another")) == [0x0000, 0xC001]
    (row,) = receiver.rows(Photograph)
    assert receiver.files("photograph") == [receiver.folder / row.path]
    assert "StudyDescription" not in dcmread(receiver.folder / row.path)
    assert [row.outcome for row in receiver.rows(AuditEvent)] == ["stored", "refused_other_content"]


@pytest.mark.parametrize("other", [{"PatientID": "TEST-9999"}, {"IssuerOfPatientID": "OTHERHOSPITAL"}])
def test_a_study_never_joins_two_patients(receiver: RunningReceiver, other: dict[str, str]) -> None:
    source = photograph()
    stray = photograph(StudyInstanceUID=source.StudyInstanceUID, **other)
    assert send(receiver, source, stray) == [0x0000, 0xC002]
    assert len(receiver.rows(Patient)) == len(receiver.rows(Photograph)) == 1
    assert len(receiver.files("photograph")) == 1
    assert receiver.rows(AuditEvent)[-1].outcome == "refused_other_patient"


def test_the_same_identifier_of_two_issuers_is_two_patients(receiver: RunningReceiver) -> None:
    assert send(receiver, photograph(), photograph(IssuerOfPatientID="OTHERHOSPITAL")) == [0x0000, 0x0000]
    assert len(receiver.rows(Patient)) == 2


@pytest.mark.parametrize(
    "broken",
    [
        {"PatientID": None},
        {"PatientID": ""},
        {"PatientID": "TEST-1\\TEST-2"},
        {"StudyInstanceUID": None},
        {"SeriesInstanceUID": ""},
    ],
    ids=str,
)
def test_missing_identifiers_go_to_quarantine_and_the_association_goes_on(
    receiver: RunningReceiver, broken: dict[str, str | None]
) -> None:
    assert send(receiver, changed(photograph(), **broken), photograph()) == [0xC000, 0x0000]
    (quarantined,) = receiver.files("quarantine")
    assert stat.S_IMODE(quarantined.stat().st_mode) == 0o600
    assert dcmread(quarantined).Rows == 64
    assert len(receiver.rows(Photograph)) == 1
    assert [row.event for row in receiver.rows(AuditEvent)] == ["quarantined", "received"]


def test_an_unparseable_dataset_goes_to_quarantine(receiver: RunningReceiver) -> None:
    with association(receiver) as opened:
        good = photograph()
        # A length that goes far beyond the end.
        assert send_encoded(opened, good, b"\x08\x00\x16\x00UI\xff\xff1.2") == 0xC000
        assert opened.send_c_store(good).Status == 0x0000
    assert len(receiver.files("quarantine")) == 1


def test_an_object_that_is_not_what_the_request_says_is_refused(receiver: RunningReceiver) -> None:
    source = photograph()
    with association(receiver) as opened:
        for other in ({"SOPInstanceUID": generate_uid()}, {"SOPClassUID": VLPhotographicImageStorage}):
            encoded = encode(changed(source, **other), False, True)
            assert isinstance(encoded, bytes)
            assert send_encoded(opened, source, encoded) == 0xA900
    assert receiver.rows(Photograph) == []
    assert receiver.rows(AuditEvent)[0].outcome == "mismatch"


def test_our_own_results_are_acknowledged_and_ignored(receiver: RunningReceiver) -> None:
    by_equipment = photograph(Manufacturer="facenorm", ManufacturerModelName="facenorm")
    by_uid = photograph()
    assert send(receiver, photograph()) == [0x0000]
    with Session(receiver.engine) as session, session.begin():
        session.add(
            Artefact(
                encounter_pk=receiver.rows(Encounter)[0].id,
                kind="normalized_photograph",
                sop_instance_uid=by_uid.SOPInstanceUID,
                sop_class_uid=by_uid.SOPClassUID,
                series_instance_uid=by_uid.SeriesInstanceUID,
                scoring_pks=[],
                sha256="0" * 64,
                path="artefact/none.dcm",
                created_at=datetime.now(UTC),
            )
        )
    assert send(receiver, by_equipment, by_uid) == [0x0000, 0x0000]
    assert len(receiver.rows(Photograph)) == len(receiver.files("photograph")) == 1
    assert [row.event for row in receiver.rows(AuditEvent)][1:] == ["own_result_ignored"] * 2


def test_a_full_disk_is_refused_politely(tmp_path: Path) -> None:
    with running_receiver(tmp_path / "data", data={"minimum_free_megabytes": 10**9}) as receiver:
        assert send(receiver, photograph()) == [0xA700]
        assert receiver.rows(Photograph) == []


def test_a_failing_folder_is_out_of_resources_and_recovers(receiver: RunningReceiver) -> None:
    source = photograph()
    obstacle = receiver.folder / "photograph"
    obstacle.write_text("not a folder")
    assert send(receiver, source) == [0xA700]
    assert receiver.rows(Photograph) == []
    obstacle.unlink()
    assert send(receiver, source) == [0x0000]


def test_a_failing_database_is_a_processing_failure_and_recovers(receiver: RunningReceiver) -> None:
    source = photograph()
    with receiver.engine.begin() as connection:
        connection.execute(text("ALTER TABLE photograph RENAME TO elsewhere"))
    assert send(receiver, source) == [0x0110]
    with receiver.engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO photograph"))
    assert send(receiver, source) == [0x0000]
    (row,) = receiver.rows(Photograph)
    assert receiver.files("photograph") == [receiver.folder / row.path]


def test_many_senders_at_once_lose_nothing(receiver: RunningReceiver) -> None:
    study = generate_uid()
    batches = [[photograph(StudyInstanceUID=study) for _ in range(10)] for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda batch: send(receiver, *batch), batches))
    assert statuses == [[0x0000] * 10] * 4
    rows = receiver.rows(Photograph)
    assert {row.sop_instance_uid for row in rows} == {
        item.SOPInstanceUID for batch in batches for item in batch
    }
    assert len(receiver.rows(Encounter)) == len(receiver.rows(Patient)) == 1
    assert receiver.rows(Encounter)[0].last_received_at == max(row.received_at for row in rows)


def test_dcmsend_delivers_a_folder(receiver: RunningReceiver, tmp_path: Path) -> None:
    files = [camera_file(tmp_path / "files") for _ in range(3)]
    (tmp_path / "files" / "picture.jpg").unlink()
    run_tool(
        "dcmsend", "-to", "20", "-aet", CALLING, "-aec", "FACENORM", "-dn", "+sd",
        LOOPBACK, str(receiver.port), tmp_path / "files",
    )  # fmt: skip
    assert len(receiver.rows(Photograph)) == len(files)


def test_a_silent_client_is_dropped_and_blocks_nobody(tmp_path: Path) -> None:
    with (
        running_receiver(tmp_path / "data", node={"acse_timeout_seconds": 1}) as receiver,
        socket.create_connection((LOOPBACK, receiver.port), timeout=20) as silent,
    ):
        assert send(receiver, photograph()) == [0x0000]
        started = time.monotonic()
        assert silent.recv(1) == b""
        assert time.monotonic() - started < 10


def test_more_associations_than_allowed_are_rejected(tmp_path: Path) -> None:
    with (
        running_receiver(tmp_path / "data", node={"maximum_associations": 1}) as receiver,
        association(receiver) as first,
        association(receiver) as second,
    ):
        assert first.is_established
        assert second.is_rejected
        answer = second.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)


_SERVING = """
import sys, time
from pathlib import Path
from tests.receiving import running_receiver
with running_receiver(Path(sys.argv[1])) as receiver:
    Path(sys.argv[2]).write_text(str(receiver.port))
    time.sleep(120)
"""


def test_what_was_answered_with_success_survives_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    port_file = tmp_path / "port"
    process = subprocess.Popen([sys.executable, "-c", _SERVING, folder, port_file])
    try:
        port = _read_port(port_file)
        engine = create_engine(f"sqlite:///{folder / 'facenorm.sqlite'}")
        peer = RunningReceiver(port, folder, engine)
        acknowledged = []
        with association(peer) as opened:
            for _ in range(3):
                source = photograph()
                assert opened.send_c_store(source).Status == 0x0000
                acknowledged.append(source)
            os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait(timeout=20)
    rows = {row.sop_instance_uid: row for row in peer.rows(Photograph)}
    engine.dispose()
    assert set(rows) == {source.SOPInstanceUID for source in acknowledged}
    for source in acknowledged:
        kept = folder / rows[source.SOPInstanceUID].path
        assert hashlib.sha256(kept.read_bytes()).hexdigest() == rows[source.SOPInstanceUID].sha256
        assert dcmread(kept).PixelData == source.PixelData
    with running_receiver(folder) as again:
        assert send(again, *acknowledged) == [0x0000] * 3
        assert len(again.rows(Photograph)) == 3


def _read_port(file: Path) -> int:
    deadline = time.monotonic() + 30
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline, "the receiving process did not start"
        time.sleep(0.05)
    return int(file.read_text())
