"""The TCP side of the receiver: what a peer may cost before anything of it is believed."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import structlog
from pynetdicom.fsm import InvalidEventError
from pynetdicom.transport import ThreadedAssociationServer

_log = structlog.get_logger(__name__)

# PS3.8 annex D.1: what DCMTK sends at most. pynetdicom's own 16 KB take eight times as many turns.
MAXIMUM_PDU_LENGTH = 128 * 1024
# Some peers count their own headers in.
_PDU_TOLERANCE = 1024
_PDU_HEADER = 6
# PS3.7 annex E: a command set is a few hundred bytes.
_LONGEST_COMMAND_SET = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection may take; bytes and seconds.

    connections: how many may be open at once, whether they have an association or not. handshake_seconds:
    for TLS. pdu_seconds: for a PDU, once it has begun. object_seconds: for a whole message. object_bytes:
    for a data set; what is beyond is not kept.
    """

    connections: int
    handshake_seconds: float
    pdu_seconds: float
    object_seconds: float
    object_bytes: int


class TooLarge(BytesIO):
    """Stands for a data set that outgrew the limit: takes the rest of it and keeps nothing."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401 -- any buffer
        """Return the length of `data`."""
        return len(data)


class Listener(ThreadedAssociationServer):
    """Takes connections; each is secured in a thread of its own, so a slow one holds up nobody."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 -- pynetdicom's own
        limits: Limits,
        secured: Callable[[], ssl.SSLContext | None],
        **options: Any,  # noqa: ANN401
    ) -> None:
        """Listen at once. secured: asked for every connection, so that certificates can be renewed."""
        self._limits = limits
        self._secured = secured
        self._handshakes = 0
        self._counting = threading.Lock()
        super().__init__(*arguments, **options)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401
        """Whether the connection may stay; otherwise it is closed at once."""
        with self._counting:
            open_now = self._handshakes + len(self.active_associations)
        if open_now < self._limits.connections:
            return True
        _log.warning("connection refused: too many are open", peer_address=client_address[0])
        return False

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Secure the connection where TLS is on, then wait for an association request on it."""
        with self._counting:
            self._handshakes += 1
        try:
            request = self._handshake(request, client_address[0])
        finally:
            with self._counting:
                self._handshakes -= 1
        if request is not None:
            # A client that stops reading must not keep our thread for ever.
            request.settimeout(self._limits.pdu_seconds)
            super().finish_request(request, client_address)

    def close_unassociated(self) -> None:
        """Close the connections on which nobody has asked for an association yet."""
        for association in self.active_associations:
            transport = association.dul.socket
            if association.requestor.primitive is None and transport is not None and transport.socket:
                with suppress(OSError):
                    transport.socket.shutdown(socket.SHUT_RDWR)

    def _handshake(self, request: socket.socket, address: str) -> socket.socket | None:
        context = self._secured()
        if context is None:
            return request
        request.settimeout(self._limits.handshake_seconds)
        try:
            # The limit is one for the whole handshake, not for each of its reads.
            return context.wrap_socket(request, server_side=True)
        except (OSError, ValueError) as error:
            _log.warning("tls handshake failed", peer_address=address, error=type(error).__name__)
            request.close()
            return None


class BoundedReading:
    """Reads one connection for pynetdicom, within limits, and in larger parts than its 4 KB.

    Every part costs a turn with the interpreter's lock, which a busy scorer holds, too. To be put in place
    of `AssociationSocket.recv`, which is called for each PDU's header and then for the rest of it.
    """

    def __init__(self, transport: Any, limits: Limits) -> None:  # noqa: ANN401 -- pynetdicom is untyped
        self._transport = transport
        self._limits = limits
        self._message: Any = None
        self._message_until = 0.0
        self._pdu_until = 0.0
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _guard(transport.assoc)

    def __call__(self, size: int) -> bytearray:
        """Return the next `size` bytes, fewer where the peer closed.

        Raises OSError where a limit is reached, which ends the connection.
        """
        if size == _PDU_HEADER:
            self._pdu_until = time.monotonic() + self._limits.pdu_seconds
            self._bound_message()
        elif size > MAXIMUM_PDU_LENGTH + _PDU_TOLERANCE:
            self._drop("pdu_too_long")
        received = bytearray()
        while (missing := size - len(received)) > 0:
            left = self._pdu_until - time.monotonic()
            if left <= 0:
                self._drop("pdu_too_slow")
            self._transport.socket.settimeout(left)
            try:
                part = self._transport.socket.recv(missing)
            except TimeoutError:
                self._drop("pdu_too_slow")
            if not part:
                break
            received += part
        # Applies to what we send, too.
        self._transport.socket.settimeout(self._limits.pdu_seconds)
        return received

    def _bound_message(self) -> None:
        message = self._transport.assoc.dimse.message
        if message is None:
            self._message = None
            return
        if message is not self._message:
            self._message = message
            self._message_until = time.monotonic() + self._limits.object_seconds
        if time.monotonic() > self._message_until:
            self._drop("object_too_slow")
        if message.encoded_command_set.tell() > _LONGEST_COMMAND_SET:
            self._drop("command_set_too_long")
        if not isinstance(message.data_set, TooLarge) and message.data_set.tell() > self._limits.object_bytes:
            # The rest is taken, so that the sender can be told why.
            message.data_set = TooLarge()

    def _drop(self, reason: str) -> None:
        peer = self._transport.assoc.requestor.address
        _log.warning("connection dropped", reason=reason, peer_address=peer)
        raise OSError(reason)


def _guard(association: Any) -> None:  # noqa: ANN401 -- pynetdicom is untyped
    """Abort an association whose peer sends a command that is none, or what its state does not provide for.

    pynetdicom's thread would end with an exception, and leave the connection as it is.
    """
    dimse, dul = association.dimse, association.dul
    receive, act = dimse.receive_primitive, dul.state_machine.do_action

    def guarded(primitive: Any) -> None:  # noqa: ANN401
        try:
            receive(primitive)
        except Exception as error:
            _log.warning(
                "association aborted: no message can be made of what came", error=type(error).__name__
            )
            dimse.message = None
            # PS3.8 section 9.2: unrecognized or invalid PDU.
            dul.event_queue.put("Evt19")

    def acting(event: str) -> None:
        try:
            act(event)
        except InvalidEventError:
            _log.warning(
                "connection dropped", reason="unexpected", peer_address=association.requestor.address
            )
            dul.socket.close()
            dul.kill_dul()

    dimse.receive_primitive, dul.state_machine.do_action = guarded, acting
