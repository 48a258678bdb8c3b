"""What has been read of a connection and not been used yet, in one buffer that is used again and again."""

from __future__ import annotations

import os
import select
import socket
import ssl
from contextlib import suppress
from typing import Final

_BUFFER_BYTES: Final = 1024 * 1024


class ReadAhead:
    """A connection's next bytes. Reading waits without the interpreter's lock, and once for many PDUs."""

    def __init__(self, connection: socket.socket) -> None:
        """Take a connection that does not block, or has a time limit, which is the same to the system."""
        self._connection = connection
        # TLS decrypts what it reads, and may hold some of it; plain reads spare a call that looks first.
        self._is_secured = isinstance(connection, ssl.SSLSocket)
        # None of that size before there is something to be read ahead: anybody may connect.
        self._buffer = bytearray()
        self._begin = self._end = 0

    @property
    def held(self) -> int:
        """How many bytes have been read and not been used."""
        return self._end - self._begin

    def seen(self, size: int) -> memoryview:
        """Return the next `size` bytes, fewer where fewer are held; valid until something else is asked."""
        return memoryview(self._buffer)[self._begin : min(self._end, self._begin + size)]

    def skip(self, size: int) -> None:
        """Have used the next `size` bytes."""
        self._begin += size
        if self._begin == self._end:
            self._begin = self._end = 0

    def take(self, size: int) -> bytearray:
        """Return and use the next `size` bytes, fewer where fewer are held."""
        taken = bytearray(self.seen(size))
        self.skip(len(taken))
        return taken

    def put_back(self, content: bytes) -> None:
        """Have `content` come next; it must be no longer than what was skipped last."""
        if not self.held:
            self._begin = self._end = len(content)
        self._begin -= len(content)
        self._buffer[self._begin : self._begin + len(content)] = content

    def read(self, size: int, seconds: float, *, ahead: bool) -> int:
        """Read at least one byte, and up to `size`, or whatever is there; return how many, 0 at the end.

        Raises TimeoutError when nothing comes within `seconds`, OSError where the connection is broken.
        """
        room = self._room(size, ahead=ahead)
        while True:
            try:
                got = (
                    self._read_secured(room, seconds)
                    if self._is_secured
                    else os.readv(self._connection.fileno(), [room])
                )
            except (BlockingIOError, ssl.SSLWantReadError):
                if not self.wait(seconds):
                    raise TimeoutError from None
                continue
            self._end += got
            return got

    def wait(self, seconds: float) -> bool:
        """Whether something comes within `seconds`, be it the end."""
        connection = self._connection
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        if connection.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def close(self) -> None:
        """Close the connection, and let go of what is held."""
        self._connection.close()
        self._buffer, self._begin, self._end = bytearray(), 0, 0

    def _read_secured(self, room: memoryview, seconds: float) -> int:
        before = self._connection.gettimeout()
        self._connection.settimeout(max(seconds, 0.001))
        try:
            return self._connection.recv_into(room)
        finally:
            with suppress(OSError):  # closed meanwhile
                self._connection.settimeout(before)  # applies to what is sent, too

    def _room(self, size: int, *, ahead: bool) -> memoryview:
        """Return where the next bytes go: room for `size`, or for all that fits."""
        held = self.held
        needed = max(_BUFFER_BYTES if ahead else 0, held + size)
        if len(self._buffer) < needed or self._end + size > len(self._buffer):
            kept = self._buffer[self._begin : self._end]
            if len(self._buffer) < needed:
                self._buffer = bytearray(needed)
            self._buffer[:held] = kept
            self._begin, self._end = 0, held
        until = len(self._buffer) if ahead else self._end + size
        return memoryview(self._buffer)[self._end : until]
