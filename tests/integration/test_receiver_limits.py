"""What a peer may cost: silent, slow and hanging clients, too many, too large."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pynetdicom.presentation import build_context
from structlog.testing import capture_logs

from dicom_node.core import open_store
from dicom_node.receiver import Receiver
from storage.database import connect, migrate, sessions
from storage.tables import AuditEvent, Photograph
from tests.association_request import association_request
from tests.peers import LOOPBACK
from tests.receiving import (
    CALLING,
    RunningReceiver,
    association,
    photograph,
    receiver_settings,
    running_receiver,
    send,
)

REQUEST = association_request([build_context("1.2.840.10008.1.1")])  # verification


def _dropped_after(receiver: RunningReceiver, behave: Callable[[socket.socket], None]) -> float:
    """Return how long a client that behaves so is kept; fails after 15 s."""
    with socket.create_connection((LOOPBACK, receiver.port), timeout=15) as client:
        began = time.monotonic()
        try:
            behave(client)
            while client.recv(4096):
                pass
        except ConnectionError:
            pass
        return time.monotonic() - began


def _half_a_header(client: socket.socket) -> None:
    client.sendall(b"\x01\x00\x00")


def _half_a_request(client: socket.socket) -> None:
    client.sendall(REQUEST[:50])


def _drip(client: socket.socket) -> None:
    for byte in REQUEST:
        client.sendall(bytes([byte]))
        time.sleep(0.2)


def _associate_and_hang(client: socket.socket) -> None:
    client.sendall(REQUEST)
    assert client.recv(1) == b"\x02"


def _message_without_end(client: socket.socket) -> None:
    _associate_and_hang(client)
    fragment = struct.pack(">LBB", 4, 1, 0) + b"\0\0"
    while True:
        client.sendall(struct.pack(">BBL", 4, 0, len(fragment)) + fragment)
        time.sleep(0.2)


@pytest.mark.parametrize(
    "behave", [_half_a_header, _half_a_request, _drip, _associate_and_hang, _message_without_end]
)
def test_a_client_that_hangs_or_drips_is_dropped(
    tmp_path: Path, behave: Callable[[socket.socket], None]
) -> None:
    times = {"acse_timeout_seconds": 2, "network_timeout_seconds": 2, "object_timeout_seconds": 2}
    with running_receiver(tmp_path, node=times) as receiver:
        assert _dropped_after(receiver, behave) < 8
        assert send(receiver, photograph()) == [0x0000]


@pytest.mark.parametrize("length", [2**32 - 1, 128 * 1024 + 1025])
def test_a_pdu_longer_than_agreed_ends_the_connection_before_it_is_read(tmp_path: Path, length: int) -> None:
    def lie(client: socket.socket) -> None:
        client.sendall(struct.pack(">BBL", 4, 0, length) + b"\0" * 1000)

    with running_receiver(tmp_path) as receiver:
        assert _dropped_after(receiver, lie) < 5


def test_an_object_that_is_too_large_is_refused_and_the_association_goes_on(tmp_path: Path) -> None:
    large = photograph(Rows=700, Columns=700, PixelData=np.zeros((700, 700, 3), np.uint8).tobytes())
    with running_receiver(tmp_path, node={"maximum_object_megabytes": 1}) as receiver:
        assert send(receiver, large, photograph()) == [0xC003, 0x0000]
        assert len(receiver.rows(Photograph)) == 1
        assert receiver.files("quarantine") == []
        refused = next(row for row in receiver.rows(AuditEvent) if row.event == "refused")
        assert (refused.outcome, refused.actor) == ("refused_too_large", CALLING)
        assert refused.detail["SOPInstanceUID"] == large.SOPInstanceUID


def test_a_sender_may_have_no_more_associations_than_its_entry_says(tmp_path: Path) -> None:
    senders: list[dict[str, Any]] = [{"ae_title": CALLING, "maximum_associations": 1}, {"ae_title": "OTHER"}]
    with running_receiver(tmp_path, senders=senders) as receiver:
        with association(receiver) as first, association(receiver) as second:
            assert first.is_established
            answer = second.acceptor.primitive
            assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)
            with association(receiver, calling="OTHER") as other:
                assert other.is_established
        deadline = time.monotonic() + 5
        while True:  # the released association ends in its own thread
            with association(receiver) as later:
                if later.is_established:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_associations_from_before_a_reload_count_against_their_sender(tmp_path: Path) -> None:
    settings = receiver_settings(tmp_path, senders=[{"ae_title": CALLING, "maximum_associations": 1}])
    engine = connect(settings.database_url)
    migrate(engine)
    receiver = Receiver(settings, sessions=sessions(engine), store=open_store(settings))
    receiver.start()
    running = RunningReceiver(receiver.port, tmp_path, engine)
    try:
        with association(running) as first:
            assert first.is_established
            again = receiver_settings(tmp_path, senders=[{"ae_title": CALLING, "maximum_associations": 1}])
            receiver.admit_anew(again, None)
            with association(running) as second:
                assert second.is_rejected
    finally:
        receiver.stop()
        engine.dispose()


def test_connections_that_ask_for_nothing_take_no_senders_place(tmp_path: Path) -> None:
    with running_receiver(tmp_path, node={"maximum_associations": 1}) as receiver:
        idle = [socket.create_connection((LOOPBACK, receiver.port), timeout=10) for _ in range(5)]
        time.sleep(0.3)
        with capture_logs() as logs, association(receiver) as first, association(receiver) as second:
            assert first.is_established
            answer = second.acceptor.primitive
            assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)
        assert [entry["reason"] for entry in logs if entry["event"] == "association refused"] == ["too_many"]
        for client in idle:
            client.close()


def test_more_connections_than_the_listener_takes_are_closed_at_once(tmp_path: Path) -> None:
    with running_receiver(tmp_path, node={"maximum_associations": 1}) as receiver:
        clients = [socket.create_connection((LOOPBACK, receiver.port), timeout=10) for _ in range(12)]
        time.sleep(0.5)
        with socket.create_connection((LOOPBACK, receiver.port), timeout=10) as late:
            assert late.recv(1) == b""
        for client in clients:
            client.close()
        deadline = time.monotonic() + 10
        while True:
            with association(receiver) as opened:
                if opened.is_established:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.1)
