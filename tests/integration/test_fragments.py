"""A data set comes in fragments, cut and timed as the sender likes: PDU by PDU over a plain socket."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom.dsutils import decode, encode
from pynetdicom.presentation import build_context

from storage.tables import Photograph
from tests.association_request import association_request
from tests.peers import LOOPBACK
from tests.receiving import RunningReceiver, photograph, running_receiver, send

COMMAND, LAST = 0b01, 0b10
CONTEXT = 1
REQUEST = association_request([build_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian)])
SUCCESS = 0x0000
ABORT = b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00"


@contextmanager
def connected(receiver: RunningReceiver) -> Iterator[socket.socket]:
    """A socket with an association for Secondary Capture images on it."""
    with socket.create_connection((LOOPBACK, receiver.port), timeout=15) as client:
        client.sendall(REQUEST)
        assert next_pdu(client)[0] == 0x02
        yield client


def next_pdu(client: socket.socket) -> tuple[int, bytes]:
    """Return the type and the rest of the PDU that comes; type 0 where the peer closes instead."""
    header = exactly(client, 6)
    if len(header) < 6:
        return 0, b""
    return header[0], exactly(client, int.from_bytes(header[2:], "big"))


def exactly(client: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        try:
            part = client.recv(size - len(received))
        except ConnectionError:
            break
        if not part:
            break
        received += part
    return received


def item(content: bytes, control: int = 0, context: int = CONTEXT) -> bytes:
    """Return one presentation data value (PS3.8 section 9.3.5.1)."""
    return struct.pack(">LBB", len(content) + 2, context, control) + content


def pdu(*items: bytes) -> bytes:
    joined = b"".join(items)
    return struct.pack(">BBL", 0x04, 0, len(joined)) + joined


def command_set(named_as: Dataset, field: int = 0x0001) -> bytes:
    """Return the whole P-DATA-TF PDU of a request's command set, a C-STORE's (PS3.7 section 9.3.1.1)."""
    command = Dataset()
    command.AffectedSOPClassUID = named_as.SOPClassUID
    command.CommandField = field
    command.MessageID = 7
    command.Priority = 2
    command.CommandDataSetType = 0x0001
    command.AffectedSOPInstanceUID = named_as.SOPInstanceUID
    encoded = encode(command, True, True)
    length = encode_group_length(len(encoded))
    return pdu(item(length + encoded, COMMAND | LAST))


def encode_group_length(length: int) -> bytes:
    return struct.pack("<HHLL", 0, 0, 4, length)


def status(client: socket.socket) -> int:
    kind, rest = next_pdu(client)
    assert kind == 0x04
    return int(decode(BytesIO(rest[6:]), True, True).Status)


def encoded_photograph(side: int = 300) -> tuple[Dataset, bytes]:
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    source = photograph(Rows=side, Columns=side, PixelData=pixels.tobytes())
    encoded = encode(source, False, True)
    assert encoded is not None
    return source, encoded


def cut(content: bytes, random: Random) -> list[bytes]:
    """Return fragments of 0 to 60,000 bytes."""
    fragments, at = [], 0
    while at < len(content):
        size = random.choice([0, 1, random.randrange(200), random.randrange(60_000)])
        fragments.append(content[at : at + size])
        at += size
    return fragments


def pdus(fragments: list[bytes], random: Random) -> Iterator[bytes]:
    """Yield PDUs of one to three fragments; the last says that it is, alone or behind others."""
    items = [item(fragment) for fragment in fragments[:-1]] + [item(fragments[-1], LAST)]
    while items:
        count = random.choice([1, 1, 1, 2, 3])
        if sum(map(len, items[:count])) > 128 * 1024:
            count = 1
        yield pdu(*items[:count])
        items = items[count:]


@pytest.mark.parametrize("seed", range(6))
def test_however_a_data_set_is_cut_it_is_kept_as_it_was(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    with running_receiver(tmp_path) as receiver, connected(receiver) as client:
        sent = [encoded_photograph(100 + 50 * n) for n in range(3)]
        for source, encoded in sent:
            client.sendall(command_set(source))
            for one in pdus(cut(encoded, random), random):
                if random.random() < 0.2:
                    time.sleep(random.choice([0.001, 0.05]))
                parted = random.randrange(len(one)) if random.random() < 0.3 else len(one)
                client.sendall(one[:parted])
                client.sendall(one[parted:])
            assert status(client) == SUCCESS
        rows = {row.sop_instance_uid: row for row in receiver.rows(Photograph)}
        assert len(rows) == len(sent)
        for source, encoded in sent:
            kept = (receiver.folder / rows[source.SOPInstanceUID].path).read_bytes()
            assert kept.endswith(encoded)


@pytest.mark.parametrize(
    "intruder",
    [
        pytest.param(pdu(item(b"\x00\x00\x00\x00", COMMAND)) * 5000, id="a command set without end"),
        pytest.param(
            struct.pack(">BBL", 4, 0, 20) + struct.pack(">LBB", 4000, 1, 0) + b"\0" * 14, id="a long item"
        ),
        pytest.param(struct.pack(">BBL", 4, 0, 3) + b"\0\0\0", id="a PDU too short for an item"),
        pytest.param(struct.pack(">BBL", 9, 0, 4) + b"\0\0\0\0", id="no PDU"),
        pytest.param(ABORT, id="an abort"),
    ],
)
def test_what_is_no_fragment_ends_the_association_and_nothing_is_kept(
    tmp_path: Path, intruder: bytes
) -> None:
    source, encoded = encoded_photograph()
    with running_receiver(tmp_path) as receiver:
        with connected(receiver) as client:
            client.sendall(
                command_set(source) + pdu(item(encoded[:50_000])) + pdu(item(encoded[50_000:90_000]))
            )
            try:
                client.sendall(intruder)
                while next_pdu(client)[0] not in (0, 0x07):
                    pass
            except ConnectionError:
                pass
        assert receiver.rows(Photograph) == []
        assert send(receiver, photograph()) == [SUCCESS]


def test_a_sender_that_leaves_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    source, encoded = encoded_photograph()
    with running_receiver(tmp_path) as receiver:
        with connected(receiver) as client:
            client.sendall(
                command_set(source) + pdu(item(encoded[:60_000])) + pdu(item(encoded[60_000:]))[:1000]
            )
        assert send(receiver, photograph()) == [SUCCESS]
        assert len(receiver.rows(Photograph)) == 1


def test_a_slow_sender_that_never_pauses_is_not_taken_for_a_silent_one(tmp_path: Path) -> None:
    source, encoded = encoded_photograph()
    parts = [encoded[n : n + 1000] for n in range(0, len(encoded), 1000)]
    with running_receiver(tmp_path, node={"network_timeout_seconds": 1}) as receiver:
        with connected(receiver) as client:
            client.sendall(command_set(source))
            for part in parts[:-1]:
                client.sendall(pdu(item(part)))
                time.sleep(0.01)
            client.sendall(pdu(item(parts[-1], LAST)))
            assert status(client) == SUCCESS
        assert len(receiver.rows(Photograph)) == 1


def test_a_node_that_stops_does_not_wait_for_a_sender_that_pauses(tmp_path: Path) -> None:
    source, encoded = encoded_photograph()
    stack = ExitStack()
    with running_receiver(tmp_path, node={"network_timeout_seconds": 60}) as receiver:
        client = stack.enter_context(connected(receiver))
        client.sendall(command_set(source) + pdu(item(encoded[:50_000])) * 2)
        time.sleep(0.5)
        began = time.monotonic()
    assert time.monotonic() - began < 10
    stack.close()


def test_an_abort_from_an_impossible_source_ends_the_association(tmp_path: Path) -> None:
    with running_receiver(tmp_path) as receiver:
        with connected(receiver) as client:
            client.sendall(b"\x07\x00\x00\x00\x00\x04\x00\x00\x09\x00")
            client.settimeout(5)
            assert next_pdu(client)[0] == 0, "closed, though not by the client"
        assert send(receiver, photograph()) == [SUCCESS]


def test_a_presentation_context_without_an_abstract_syntax_ends_the_association(tmp_path: Path) -> None:
    abstract, transfer = b"\x30\x00\x00\x19", b"\x40\x00\x00\x19"
    assert REQUEST.count(abstract) == 1
    with running_receiver(tmp_path) as receiver:
        with socket.create_connection((LOOPBACK, receiver.port), timeout=5) as client:
            client.sendall(REQUEST.replace(abstract, transfer))
            assert next_pdu(client)[0] == 0, "closed, though not by the client"
        assert send(receiver, photograph()) == [SUCCESS]


def test_another_command_on_a_storage_context_is_told_that_it_is_not_provided_for(tmp_path: Path) -> None:
    source, encoded = encoded_photograph(100)
    n_create, unrecognized_operation = 0x0140, 0x0211
    with running_receiver(tmp_path) as receiver:
        with connected(receiver) as client:
            client.sendall(command_set(source, n_create) + pdu(item(encoded, LAST)))
            assert status(client) == unrecognized_operation
            client.sendall(command_set(source) + pdu(item(encoded, LAST)))
            assert status(client) == SUCCESS
        assert len(receiver.rows(Photograph)) == 1
