"""Associations that we open ourselves: every wait on the network has a limit."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty
from typing import Any, Protocol

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.transport import AssociationSocket

_CONNECT_SECONDS = 10.0
_ASSOCIATION_SECONDS = 30.0
_RESPONSE_SECONDS = 60.0
_POLL_SECONDS = 0.1

# An event of pynetdicom's and what handles it.
Handler = tuple[Any, Callable[[Any], Any]]


class Peer(Protocol):
    """An application entity that takes associations."""

    @property
    def ae_title(self) -> str:
        """The called AE title."""
        ...

    @property
    def host(self) -> str:
        """Host name or address."""
        ...

    @property
    def port(self) -> int:
        """TCP port."""
        ...

    @property
    def tls(self) -> bool:
        """Whether the connection is to be secured."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Opens associations under our AE title; every limit is in seconds.

    response_seconds: for an answer once its request has been sent. tls: what connections to peers that want
    it are secured with; asked for every one, so that certificates can be renewed.
    """

    ae_title: str
    connect_seconds: float = _CONNECT_SECONDS
    association_seconds: float = _ASSOCIATION_SECONDS
    response_seconds: float = _RESPONSE_SECONDS
    tls: Callable[[], ssl.SSLContext | None] = lambda: None

    def associate(
        self,
        peer: Peer,
        contexts: Sequence[tuple[str, str | None]],
        *,
        as_scp_of: str | None = None,
        handlers: Sequence[Handler] = (),
    ) -> Association:
        """Return an association, established or not, with these (SOP class, transfer syntax) contexts.

        No transfer syntax: the uncompressed ones. as_scp_of: the SOP class of which we are the provider
        although we call (PS3.7 D.3.3.4).

        Raises:
            OSError: the host's name cannot be resolved just now, or no socket is to be had.
            ValueError: the peer wants a secured connection, and there is nothing to secure it with.

        """
        context = self.tls() if peer.tls else None
        if peer.tls and context is None:
            raise ValueError("no certificates were given")
        entity = _Entity(ae_title=self.ae_title)
        entity.connection_timeout = self.connect_seconds
        entity.acse_timeout = self.association_seconds
        entity.dimse_timeout = self.response_seconds
        entity.network_timeout = self.response_seconds
        for sop_class, transfer_syntax in contexts:
            if transfer_syntax is None:
                entity.add_requested_context(sop_class)
            else:
                entity.add_requested_context(sop_class, transfer_syntax)
        roles: list[Any] = [_provider(as_scp_of)] if as_scp_of else []
        association = entity.associate(
            peer.host,
            peer.port,
            ae_title=peer.ae_title,
            ext_neg=roles,
            evt_handlers=[(evt.EVT_CONN_OPEN, self._limit_sending), *handlers],
            tls_args=(context, peer.host) if context else None,
        )
        association.dimse.get_msg = _once_sent(association)  # type: ignore[method-assign]
        return association

    def release(self, association: Association) -> None:
        """Release the association, or abort it where its reactor does not come to rest in time.

        As `Association.release`, which waits for that without limit: an event report that has just been
        answered makes pynetdicom believe, now and then, that a resting reactor does not rest.
        """
        if not association.is_established:
            return
        until = time.monotonic() + self.association_seconds
        association._reactor_checkpoint.clear()
        while not association._is_paused:
            if time.monotonic() > until:
                association.abort()
                return
            time.sleep(0.001)
        association.acse.negotiate_release()
        association._reactor_checkpoint.set()

    def _limit_sending(self, event: Any) -> None:  # noqa: ANN401 -- pynetdicom is untyped
        # A peer that stops reading must not keep our thread for ever.
        event.assoc.dul.socket.socket.settimeout(self.response_seconds)


def _once_sent(association: Association) -> Callable[..., Any]:
    """Return what waits for an answer from when its request has gone out, as long as that goes on.

    pynetdicom would wait from when the request is in its queue, and give up every object that takes a slow
    line longer than an answer may take.
    """
    dimse: Any = association.dimse
    unsent, wait = association.dul.to_provider_queue, dimse.get_msg

    def get_msg(block: bool = False) -> Any:  # noqa: ANN401 -- pynetdicom is untyped
        left, since = unsent.qsize(), time.monotonic()
        while block and left and time.monotonic() - since < dimse.dimse_timeout:
            with suppress(Empty):
                return dimse.msg_queue.get(timeout=_POLL_SECONDS)
            if unsent.qsize() < left:
                left, since = unsent.qsize(), time.monotonic()
        return wait(block)

    return get_msg


class _Socket(AssociationSocket):
    """Closes what could not connect, too: pynetdicom leaves that to the garbage collector."""

    def _shutdown_socket(self) -> None:
        if self.socket is None:
            return
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class _Entity(AE):
    def _create_socket(self, assoc: Association, address: Any, tls_args: Any) -> AssociationSocket:  # noqa: ANN401
        created = _Socket(assoc, address=address)
        created.tls_args = tls_args
        return created


def _provider(sop_class: str) -> SCP_SCU_RoleSelectionNegotiation:
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid = sop_class
    role.scu_role, role.scp_role = False, True
    return role
