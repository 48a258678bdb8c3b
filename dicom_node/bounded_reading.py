"""Reading one connection: how large and how slow what comes may be, and the shortest way for photographs."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import structlog
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.fsm import InvalidEventError

from dicom_node.gathered_data_set import GatheredDataSet
from dicom_node.read_ahead import ReadAhead

_log = structlog.get_logger(__name__)

# PS3.8 annex D.1: what DCMTK sends at most. pynetdicom's own 16 KB take eight times as many turns.
MAXIMUM_PDU_LENGTH = 128 * 1024
# Some peers count their own headers in.
_PDU_TOLERANCE = 1024
_PDU_HEADER = 6
# PS3.7 annex E: a command set is a few hundred bytes.
_LONGEST_COMMAND_SET = 16 * 1024
_P_DATA_TF = 0x04
# Of others pynetdicom reads no more than the header.
_PDU_TYPES = range(0x01, 0x08)
# PS3.8 section 9.3.5.1 and annex E.2: item length, presentation context ID, message control header.
_FRAGMENT_HEADER = 6
# How long an association may be deaf to its own node while the next fragment is waited for.
_PATIENCE_SECONDS = 0.02


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


class BoundedReading:
    """Reads one connection for pynetdicom, within limits, and in far larger parts.

    To be put in place of `AssociationSocket.recv`, which is called for each PDU's header and then for the
    rest of it. A photograph comes in some fifty PDUs, and each takes pynetdicom several copies, queues and
    turns with the interpreter's lock. So fragments of a data set that is under way are taken here, as long
    as they come and several at a time, and pynetdicom gets an empty one in their place.
    """

    def __init__(self, transport: Any, limits: Limits) -> None:  # noqa: ANN401 -- pynetdicom is untyped
        self._transport = transport
        self._limits = limits
        self._message: Any = None
        self._message_until = 0.0
        self._pdu_until = 0.0
        self._body_comes = False
        self._ahead = ReadAhead(transport.socket)
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _guard(transport.assoc)

    @property
    def has_more(self) -> bool:
        """Whether something has been read that pynetdicom has not asked for yet."""
        return self._ahead.held > 0

    def __call__(self, size: int) -> bytearray:
        """Return the next `size` bytes, fewer where the peer closed.

        Raises OSError where a limit is reached, which ends the connection.
        """
        if self._body_comes:
            self._body_comes = False
            if size > MAXIMUM_PDU_LENGTH + _PDU_TOLERANCE:
                self._drop("pdu_too_long")
            self._await(size)
            return self._ahead.take(size)
        self._begin_pdu()
        message = self._transport.assoc.dimse.message
        if message is not None and self._is_under_way(message):
            self._take_fragments(message)
        self._await(size)
        header = self._ahead.take(size)
        self._body_comes = len(header) == _PDU_HEADER and header[0] in _PDU_TYPES
        return header

    def close(self) -> None:
        """Let go of the connection and of what has been read of it."""
        self._ahead.close()

    def _take_fragments(self, message: Any) -> None:  # noqa: ANN401
        """Take the fragments that come, and put an empty one in their place where no other PDU follows."""
        if (
            isinstance(message, C_STORE_RQ)
            and type(message.data_set) is BytesIO
            and not message.data_set.tell()
        ):
            message.data_set = GatheredDataSet()
        taken = False
        while not taken or self._more_follows():
            if taken:
                self._begin_pdu()
            if not self._await(_PDU_HEADER, ahead=True):
                return
            header = self._ahead.seen(_PDU_HEADER)
            length = int.from_bytes(header[2:], "big")
            if header[0] != _P_DATA_TF or length > MAXIMUM_PDU_LENGTH + _PDU_TOLERANCE:
                return
            whole = _PDU_HEADER + length
            if not self._await(whole, ahead=True) or not _is_fragment_of(message, self._ahead.seen(whole)):
                return
            message.data_set.write(self._ahead.seen(whole)[_PDU_HEADER + _FRAGMENT_HEADER :])
            self._ahead.skip(whole)
            # As pynetdicom does with each PDU.
            self._transport.assoc.dul._idle_timer.restart()
            taken = True
        self._ahead.put_back(_empty_fragment(message.context_id))

    def _is_under_way(self, message: Any) -> bool:  # noqa: ANN401
        """Whether the command set is complete, and pynetdicom has dealt with all that was read.

        And only in Sta6 (PS3.8 section 9.2), where data are due: elsewhere the connection is to be closed.
        """
        dul = self._transport.assoc.dul
        return (
            message.context_id is not None
            and not message._data_set_file
            and dul.event_queue.empty()
            and dul.state_machine.current_state == "Sta6"
        )

    def _more_follows(self) -> bool:
        """Whether the next PDU is there, or comes soon, and pynetdicom has nothing to do meanwhile."""
        if not self._transport.assoc.dul.to_provider_queue.empty():
            return False
        return self.has_more or self._ahead.wait(_PATIENCE_SECONDS)

    def _begin_pdu(self) -> None:
        self._pdu_until = time.monotonic() + self._limits.pdu_seconds
        self._bound_message()

    def _await(self, size: int, *, ahead: bool = False) -> bool:
        """Have `size` bytes ready; return False where the peer closed before. ahead: also what follows."""
        while self._ahead.held < size:
            left = self._pdu_until - time.monotonic()
            if left <= 0:
                self._drop("pdu_too_slow")
            try:
                if not self._ahead.read(size - self._ahead.held, left, ahead=ahead):
                    return False
            except TimeoutError:
                self._drop("pdu_too_slow")
        return True

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


def _is_fragment_of(message: Any, pdu: memoryview) -> bool:  # noqa: ANN401
    """Whether the PDU is one fragment of the data set, not the last (PS3.8 section 9.3.5 and annex E.2)."""
    return (
        len(pdu) >= _PDU_HEADER + _FRAGMENT_HEADER
        and int.from_bytes(pdu[6:10], "big") == len(pdu) - _PDU_HEADER - 4
        and pdu[10] == message.context_id
        and pdu[11] & 0b11 == 0
    )


def _empty_fragment(context_id: int) -> bytes:
    """Return a P-DATA-TF PDU of one fragment without content, not the last."""
    rest = (2).to_bytes(4, "big") + bytes([context_id, 0])
    return bytes([_P_DATA_TF, 0]) + len(rest).to_bytes(4, "big") + rest


def _guard(association: Any) -> None:  # noqa: ANN401 -- pynetdicom is untyped
    """Abort an association whose peer sends a command that is none, or what its state does not provide for.

    And drop the connection where pynetdicom fails at what was sent, such as an A-ABORT from an impossible
    source, or a presentation context without an abstract syntax: its thread would end with an exception,
    and leave the connection as it is.
    """
    dimse, dul = association.dimse, association.dul
    receive = dimse.receive_primitive

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

    def dropping(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:  # noqa: ANN401
            try:
                return function(*arguments)
            except Exception as error:
                reason = "unexpected" if isinstance(error, InvalidEventError) else type(error).__name__
                _log.warning("connection dropped", reason=reason, peer_address=association.requestor.address)
                if dul.socket:
                    dul.socket.close()
                dul.kill_dul()

        return called

    dimse.receive_primitive = guarded
    dul.state_machine.do_action = dropping(dul.state_machine.do_action)
    # Not `run_reactor`: the association's thread has been made with it already.
    association.acse.negotiate_association = dropping(association.acse.negotiate_association)
    association._run_reactor = dropping(association._run_reactor)
