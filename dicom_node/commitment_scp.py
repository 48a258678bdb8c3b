"""Senders ask us to commit ourselves to what they sent (PS3.4 annex J, SCP)."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

import structlog
from pydicom.dataset import Dataset
from pynetdicom.association import Association
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.caller import Caller
from dicom_node.commitment_dataset import (
    CLASS_INSTANCE_CONFLICT,
    NO_SUCH_OBJECT_INSTANCE,
    PROCESSING_FAILURE,
    Reference,
    UnusableCommitmentError,
    build_report,
    read_request,
)
from dicom_node.commitment_scu import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from dicom_node.outbox import Backoff
from dicom_node.settings_sections import Sender
from storage.commitments import (
    DEAD,
    DUE,
    REPORTED,
    Held,
    add_request,
    due_request,
    due_requests,
    held_objects,
    settle_request,
)
from storage.database import reading
from storage.file_store import FileStore
from storage.tables import Commitment

_log = structlog.get_logger(__name__)

_BATCH = 20
_REQUEST_STORAGE_COMMITMENT = 1
_SUCCESS = 0x0000
# PS3.7 annex C.5.
_INVALID_ARGUMENT_VALUE = 0x0115
_NO_SUCH_ACTION = 0x0123
# A report must not overtake the answer to its request.
_AFTER_THE_ANSWER_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class _ReportTo:
    """Where a sender takes reports."""

    ae_title: str
    host: str
    port: int
    tls: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentScp:
    """Takes requests durably, and reports on each once every object was looked at on the disk.

    A sender with a `commitment_port` gets its report on an association of its own, and again until it takes
    it; any other on the association of its request, once. secured: whether such an association has TLS.
    """

    sessions: sessionmaker[Session]
    store: FileStore
    caller: Caller
    clock: Callable[[], datetime]
    random: Random
    backoff: Backoff
    secured: bool = False

    def take_request(self, event: Any, sender: Sender | None) -> tuple[int, Dataset | None]:  # noqa: ANN401
        """Return the answer to an N-ACTION request; raises nothing, so the association goes on.

        sender: the entry of the settings under which the peer was admitted, if any.
        """
        title = str(event.assoc.requestor.ae_title).strip()
        try:
            if event.action_type != _REQUEST_STORAGE_COMMITMENT:
                return _NO_SUCH_ACTION, None
            transaction, references = read_request(event.action_information)
            with self.sessions.begin() as session:
                add_request(
                    session,
                    ae_title=title,
                    transaction_uid=transaction,
                    instances=references,
                    now=self.clock(),
                )
        except UnusableCommitmentError:
            return _INVALID_ARGUMENT_VALUE, None
        except Exception as error:  # pydicom decodes what the peer sent, which can raise nearly anything
            _log.error("commitment request failed", calling_ae_title=title, error=type(error).__name__)
            return PROCESSING_FAILURE, None
        _log.info("commitment requested", calling_ae_title=title, count=len(references))
        if sender is None or not sender.commitment_port:
            request = (event.assoc, title, transaction)
            reporter = threading.Timer(_AFTER_THE_ANSWER_SECONDS, self._report_on, args=request)
            reporter.daemon = True
            reporter.start()
        return _SUCCESS, None

    def report_due(self, sender: Sender) -> int:
        """Report to a sender that has a `commitment_port`; return how many reports it took."""
        taken = 0
        with self.sessions() as session:
            requests = due_requests(session, ae_title=sender.ae_title, now=self.clock(), limit=_BATCH)
        for request in requests:
            error = self._report_anew(
                request, _ReportTo(sender.ae_title, sender.host, sender.commitment_port, self.secured)
            )
            self._settle(request, error, last=request.attempts + 1 >= self.backoff.attempts)
            taken += error is None
        return taken

    def _report_on(self, association: Association, title: str, transaction: str) -> None:
        """Report on what this association asked for; others of the sender's wait for their own reports."""
        try:
            with reading(self.sessions) as session:
                request = due_request(session, ae_title=title, transaction_uid=transaction)
            if request is not None:
                self._settle(request, self._send(association, self._report(request)), last=True)
        except SQLAlchemyError as error:
            _log.error("commitment report failed", calling_ae_title=title, error=type(error).__name__)

    def _report_anew(self, request: Commitment, peer: _ReportTo) -> str | None:
        # Before there is an association, which would end while many files are read.
        report = self._report(request)
        try:
            association = self.caller.associate(
                peer, [(STORAGE_COMMITMENT, None)], as_scp_of=STORAGE_COMMITMENT
            )
        except OSError:
            return "no_association"
        if not association.is_established:
            return "association_rejected" if association.is_rejected else "no_association"
        try:
            return self._send(association, report)
        finally:
            self.caller.release(association)

    def _send(self, association: Association, report: tuple[int, Dataset]) -> str | None:
        """Send the report; return None where it was taken, else the class of the failure."""
        event_type, information = report
        try:
            status, _ = association.send_n_event_report(
                information, event_type, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
            )
        except (RuntimeError, OSError, ValueError):  # the peer went away, or accepted no context for it
            return "association_lost"
        if "Status" not in status:
            return "association_lost"
        return None if int(status.Status) == _SUCCESS else f"status_{int(status.Status):04X}"

    def _report(self, request: Commitment) -> tuple[int, Dataset]:
        """Return the report; what is named several times is looked at once, and told once."""
        references: list[Reference] = list(dict.fromkeys((named, uid) for named, uid in request.instances))
        with reading(self.sessions) as session:
            held = held_objects(session, list({uid for _, uid in references}))
        # Files are read in no transaction: others would have to wait for it.
        reasons: dict[Reference, int | None] = {}
        for sop_class, uid in references:
            found = held.get(uid)
            if found is None:
                reasons[sop_class, uid] = NO_SUCH_OBJECT_INSTANCE
            elif found.sop_class_uid != sop_class:
                reasons[sop_class, uid] = CLASS_INSTANCE_CONFLICT
            else:
                reasons[sop_class, uid] = self._why_not_kept(found)
        committed = [reference for reference, reason in reasons.items() if reason is None]
        failed = {reference: reason for reference, reason in reasons.items() if reason is not None}
        return build_report(request.transaction_uid, committed, failed)

    def _why_not_kept(self, held: Held) -> int | None:
        try:
            intact = hashlib.sha256(self.store.read(held.path)).hexdigest() == held.sha256
        except FileNotFoundError:
            return NO_SUCH_OBJECT_INSTANCE
        except OSError:  # damaged, or its place is away: nobody can say now that it is kept
            return PROCESSING_FAILURE
        return None if intact else PROCESSING_FAILURE

    def _settle(self, request: Commitment, error: str | None, *, last: bool) -> None:
        state = REPORTED if error is None else DEAD if last else DUE
        wait = self.backoff.delay(request.attempts + 1, self.random)
        with self.sessions.begin() as session:
            settle_request(session, request.id, state=state, due_at=self.clock() + wait, error=error)
        log = _log.bind(destination=request.ae_title, count=len(request.instances))
        if error is None:
            log.info("commitment reported")
        else:
            log.warning("commitment not reported", error=error, state=state)
