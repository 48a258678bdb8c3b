"""The listener: photographs come in and are answered for (PS3.4 annex B), commitments are told (annex J)."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from pydicom import uid
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.admission import admitted_as
from dicom_node.bounded_reading import MAXIMUM_PDU_LENGTH, BoundedReading, Limits
from dicom_node.commitment_scp import CommitmentScp
from dicom_node.commitment_scu import STORAGE_COMMITMENT
from dicom_node.commitments import Commitments
from dicom_node.idle_association import wait_when_idle
from dicom_node.listener import Listener
from dicom_node.reception import Reception
from dicom_node.settings import Settings
from dicom_node.settings_sections import Destination, Sender
from storage.file_store import FileStore

_log = structlog.get_logger(__name__)

SOP_CLASSES = (uid.VLPhotographicImageStorage, uid.SecondaryCaptureImageStorage)
_VERIFICATION = uid.UID("1.2.840.10008.1.1")
# Every one of these decodes with the installed codecs; a test holds them to it.
TRANSFER_SYNTAXES = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
)
# PS3.8 section 9.3.4: rejected-permanent, by the service user, calling AE title not recognized.
_CALLING_AE_TITLE_NOT_RECOGNIZED = (0x01, 0x01, 0x03)
_CALLED_AE_TITLE_NOT_RECOGNIZED = (0x01, 0x01, 0x07)
# Rejected-transient, by the service provider (presentation), local limit exceeded.
_LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)
_REASONS = {
    _CALLING_AE_TITLE_NOT_RECOGNIZED: "not_listed",
    _CALLED_AE_TITLE_NOT_RECOGNIZED: "called_by_another_title",
    _LOCAL_LIMIT_EXCEEDED: "too_many",
}
# PS3.7 annex C.5.20: refused, not authorized.
_NOT_AUTHORIZED = 0x0124
_GRACE_SECONDS = 5.0


class Receiver:
    """Listens for C-ECHO, C-STORE and storage commitment while started."""

    def __init__(
        self,
        settings: Settings,
        *,
        sessions: sessionmaker[Session],
        store: FileStore,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        commitment_scp: CommitmentScp | None = None,
        commitments: Commitments | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Listen for nothing yet.

        commitment_scp: takes the requests of senders. commitments: take the reports of destinations. Without
        one of them, what it is for is not accepted. tls: what connections are secured with; None: nothing.
        """
        self.tls = tls
        self._settings = settings
        self._reception = Reception(
            sessions=sessions,
            store=store,
            minimum_free_bytes=settings.data.minimum_free_megabytes * 1_000_000,
            clock=clock,
        )
        self._commitment_scp = commitment_scp
        self._commitments = commitments
        self._admitted: WeakKeyDictionary[Any, Sender | Destination] = WeakKeyDictionary()
        self._admitting = threading.Lock()
        self._limits = _limits(settings)
        self._ae = _application_entity(settings)
        if commitment_scp or commitments:
            # A destination calls us and is the provider all the same.
            self._ae.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
        self._server: Any = None

    @property
    def port(self) -> int:
        """The TCP port that is listened on.

        Raises RuntimeError unless started.
        """
        if self._server is None:
            raise RuntimeError("the receiver is not started")
        return int(self._server.socket.getsockname()[1])

    def start(self) -> None:
        """Listen; returns at once.

        Raises OSError when the address is taken or not ours.
        """
        node = self._settings.node
        self._server = self._ae.make_server(
            (node.host, node.port),
            evt_handlers=[
                (evt.EVT_CONN_OPEN, self._bound),
                (evt.EVT_CONN_CLOSE, _end_waiting),
                (evt.EVT_REQUESTED, self._admit),
                (evt.EVT_C_ECHO, self._echo),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_N_ACTION, self._take_commitment_request),
                (evt.EVT_N_EVENT_REPORT, self._take_commitment_report),
            ],
            server_class=Listener,
            limits=self._limits,
            secured=lambda: self.tls,
        )
        self._ae._servers.append(self._server)
        threading.Thread(target=self._server.serve_forever, name="listener", daemon=True).start()
        _log.info("receiver started", ae_title=node.ae_title, host=node.host, port=self.port)
        if not self._settings.senders:
            _log.warning("nobody may send: no senders are configured")

    def admit_anew(self, settings: Settings, tls: ssl.SSLContext | None) -> None:
        """Let the senders of `settings` in from now on, under these certificates.

        Associations that are open stay so.
        """
        self._settings = settings
        self.tls = tls

    def stop(self) -> None:
        """Stop listening, give running associations a few seconds to end, then abort them."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.close_unassociated()
        self._server = None
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._ae.active_associations and time.monotonic() < deadline:
            time.sleep(0.05)
        self._ae.shutdown()
        _log.info("receiver stopped")

    def _bound(self, event: Any) -> None:  # noqa: ANN401 -- pynetdicom is untyped
        transport = event.assoc.dul.socket
        try:
            transport.recv = reading = BoundedReading(transport, self._limits)
            wait_when_idle(event.assoc, lambda: reading.has_more)
            event.assoc.bind(evt.EVT_CONN_CLOSE, lambda _event: reading.close())
        except (OSError, MemoryError) as error:
            # pynetdicom would go on, without limits.
            _log.error("connection dropped", reason=type(error).__name__)
            transport.socket.close()

    def _admit(self, event: Any) -> None:  # noqa: ANN401 -- pynetdicom is untyped
        # pynetdicom swallows what a handler raises here, and would go on to accept.
        refusal: tuple[int, int, int] | None = _CALLING_AE_TITLE_NOT_RECOGNIZED
        try:
            requestor = event.assoc.requestor
            title = str(requestor.primitive.calling_ae_title)
            called = str(requestor.primitive.called_ae_title).strip()
            refusal = self._why_refused(event.assoc, title, called, requestor.address)
            if refusal is not None:
                _log.warning(
                    "association refused",
                    calling_ae_title=title.strip(),
                    called_ae_title=called,
                    peer_address=requestor.address,
                    reason=_REASONS[refusal],
                )
        finally:
            if refusal is not None:
                event.assoc.acse.send_reject(*refusal)
                event.assoc.kill()

    def _why_refused(
        self,
        association: Any,  # noqa: ANN401 -- pynetdicom is untyped
        title: str,
        called: str,
        address: str,
    ) -> tuple[int, int, int] | None:
        peer = admitted_as(self._settings.senders, title, address) or admitted_as(
            self._committing, title, address
        )
        if peer is None:
            return _CALLING_AE_TITLE_NOT_RECOGNIZED
        if called != self._settings.node.ae_title:
            return _CALLED_AE_TITLE_NOT_RECOGNIZED
        if not self._has_room_for(association, peer):
            return _LOCAL_LIMIT_EXCEEDED
        if isinstance(peer, Destination):
            # It may report what it commits itself to, and store nothing.
            association.acceptor.supported_contexts = [
                context
                for context in association.acceptor.supported_contexts
                if context.abstract_syntax in (_VERIFICATION, STORAGE_COMMITMENT)
            ]
        return None

    def _has_room_for(self, association: Any, peer: Sender | Destination) -> bool:  # noqa: ANN401
        with self._admitting:
            others = [
                entry for other, entry in self._admitted.items() if other.is_alive() and not other._kill
            ]
            # Not `is`: the settings may have been read again since.
            its_own = sum((entry.ae_title, entry.host) == (peer.ae_title, peer.host) for entry in others)
            most = peer.maximum_associations if isinstance(peer, Sender) else 0
            if len(others) >= self._settings.node.maximum_associations or (most and its_own >= most):
                return False
            self._admitted[association] = peer
            return True

    @property
    def _committing(self) -> list[Destination]:
        return [entry for entry in self._settings.destinations if entry.storage_commitment]

    def _take_commitment_request(self, event: Any) -> tuple[int, Dataset | None]:  # noqa: ANN401
        sender = self._admitted.get(event.assoc)
        if self._commitment_scp is None or not isinstance(sender, Sender):
            return _NOT_AUTHORIZED, None
        return self._commitment_scp.take_request(event, sender)

    def _take_commitment_report(self, event: Any) -> tuple[int, Dataset | None]:  # noqa: ANN401
        requestor = event.assoc.requestor
        title = str(requestor.ae_title).strip()
        if self._commitments is None or admitted_as(self._committing, title, requestor.address) is None:
            return _NOT_AUTHORIZED, None
        return self._commitments.take_report(title, event.event_information), None

    def _echo(self, _event: evt.Event) -> int:
        return 0x0000

    def _store(self, event: evt.Event) -> int:
        return self._reception.receive(event)


def _end_waiting(event: Any) -> None:  # noqa: ANN401 -- pynetdicom is untyped
    """Let the thread of a connection that closed before it had an association end.

    It would wait out its time limit, and a monitor that only connects would soon use up all connections.
    """
    if event.assoc.requestor.primitive is None:
        event.assoc.dul.to_user_queue.put(None)


def _limits(settings: Settings) -> Limits:
    node = settings.node
    return Limits(
        # Room to refuse further associations in the peer's own language.
        connections=2 * node.maximum_associations + 10,
        handshake_seconds=node.acse_timeout_seconds,
        pdu_seconds=node.network_timeout_seconds,
        object_seconds=node.object_timeout_seconds,
        object_bytes=node.maximum_object_megabytes * 1_000_000,
    )


def _application_entity(settings: Settings) -> Any:  # noqa: ANN401 -- pynetdicom is untyped
    node = settings.node
    # Or every PDU is put into words for a log that is off.
    _config.LOG_HANDLER_LEVEL = "none"
    ae = AE(ae_title=node.ae_title)
    ae.require_called_aet = True
    ae.maximum_pdu_size = MAXIMUM_PDU_LENGTH
    # We count those that we have let in; pynetdicom counts whatever is connected.
    ae.maximum_associations = _limits(settings).connections
    ae.acse_timeout = node.acse_timeout_seconds
    ae.dimse_timeout = node.dimse_timeout_seconds
    ae.network_timeout = node.network_timeout_seconds
    ae.add_supported_context(_VERIFICATION)
    for sop_class in SOP_CLASSES:
        ae.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
    return ae
