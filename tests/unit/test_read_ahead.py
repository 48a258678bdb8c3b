"""Bytes come out of the buffer as they came in, however they are read, and however much is held."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_node.read_ahead import ReadAhead

SECONDS = 5.0


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, ReadAhead]]:
    sender, receiver = socket.socketpair()
    receiver.settimeout(SECONDS)
    with sender, receiver:
        yield sender, ReadAhead(receiver)


def test_no_more_is_read_than_is_asked_for_unless_ahead(ends: tuple[socket.socket, ReadAhead]) -> None:
    sender, reading = ends
    sender.sendall(b"headerrest")
    assert reading.read(6, SECONDS, ahead=False) == 6
    assert reading.take(6) == b"header"
    assert reading.held == 0
    assert reading.read(1, SECONDS, ahead=True) == 4
    assert bytes(reading.seen(2)) == b"re"
    assert reading.held == 4


def test_the_end_is_zero_bytes_and_what_was_held_stays(ends: tuple[socket.socket, ReadAhead]) -> None:
    sender, reading = ends
    sender.sendall(b"last")
    sender.close()
    assert reading.read(1, SECONDS, ahead=True) == 4
    assert reading.read(1, SECONDS, ahead=True) == 0
    assert reading.take(100) == b"last"
    assert reading.wait(SECONDS)


def test_silence_is_a_timeout(ends: tuple[socket.socket, ReadAhead]) -> None:
    _, reading = ends
    assert not reading.wait(0.01)
    with pytest.raises(TimeoutError):
        reading.read(1, 0.01, ahead=False)


def test_a_closed_connection_is_an_error_not_a_wait() -> None:
    sender, receiver = socket.socketpair()
    receiver.settimeout(SECONDS)
    reading = ReadAhead(receiver)
    sender.close()
    receiver.close()
    assert not reading.wait(SECONDS)
    with pytest.raises(OSError, match="descriptor"):
        reading.read(1, SECONDS, ahead=True)


@pytest.mark.parametrize("held", [b"", b"what follows"])
def test_what_is_put_back_comes_next(ends: tuple[socket.socket, ReadAhead], held: bytes) -> None:
    sender, reading = ends
    sender.sendall(b"skipped bytes" + held)
    reading.read(1, SECONDS, ahead=True)
    reading.skip(13)
    reading.put_back(b"instead")
    assert reading.take(7) == b"instead"
    assert reading.take(100) == held


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 300_000), st.booleans()), min_size=1, max_size=12))
def test_everything_comes_in_order_round_the_buffers_end(steps: list[tuple[int, bool]]) -> None:
    total = sum(size for size, _ in steps)
    content = bytes(n * 7 % 251 for n in range(total))
    sender, receiver = socket.socketpair()
    receiver.settimeout(SECONDS)
    sender.setblocking(False)
    reading, sent, got = ReadAhead(receiver), 0, b""
    with sender, receiver:
        for size, ahead in steps:
            while reading.held < size:
                if sent < total:
                    with suppress(BlockingIOError):
                        sent += sender.send(content[sent : sent + 200_000])
                reading.read(size - reading.held, SECONDS, ahead=ahead)
            got += bytes(reading.take(size))
    assert got == content
