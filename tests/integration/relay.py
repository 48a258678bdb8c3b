"""A TCP relay that can keep a server's answers to itself."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self

from tests.peers import LOOPBACK


class Relay:
    """Passes bytes between clients and a server on loopback; `mute_after` makes it go deaf to the server."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._limit: int | None = None
        self._sent = 0
        self.muted = False
        # What clients sent.
        self.heard = bytearray()
        self._sockets: list[socket.socket] = []

    def mute_after(self, count: int) -> None:
        """Withhold the server's answers once clients have sent `count` bytes; what they send still passes."""
        self._limit, self._sent, self.muted = count, 0, False

    def pass_everything(self) -> None:
        """Withhold nothing any more."""
        self._limit, self.muted = None, False

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._sockets:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((LOOPBACK, self._server_port))
            self._sockets += [client, server]
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        while data := _received(client):
            self._sent += len(data)
            self.heard += data
            if self._limit is not None and self._sent >= self._limit:
                self.muted = True
            server.sendall(data)
        _finish(server)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        while data := _received(server):
            if not self.muted:
                client.sendall(data)
        _finish(client)


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def _finish(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return
