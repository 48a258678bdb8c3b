"""The TCP side of the receiver: what a peer may cost before anything of it is believed."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.bounded_reading import Limits

_log = structlog.get_logger(__name__)


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
