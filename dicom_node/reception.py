"""What one C-STORE request leads to, from its bytes to the status that answers it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

import structlog
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode_file_meta
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.bounded_reading import TooLarge
from dicom_node.gathered_data_set import GatheredDataSet
from dicom_node.logs import innermost
from dicom_node.received_dataset import (
    Identification,
    UnusableDatasetError,
    as_received,
    identify,
    is_uid,
)
from reports.equipment import IMPLEMENTATION_CLASS_UID
from storage.audit import Event
from storage.file_store import FileStore
from storage.intake import (
    IntakeRefusedError,
    OtherPatientError,
    Outcome,
    OwnResultError,
    Received,
    record_event,
    record_photograph,
)
from storage.shared_commits import SharedCommits

_log = structlog.get_logger(__name__)

# Far more than there are associations: hardly ever do two photographs share a turn.
_TURNS = 1024


class Status(IntEnum):
    """C-STORE statuses (PS3.4 table B.2-1, PS3.7 annex C)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    UNRECOGNIZED_OPERATION = 0x0211
    OUT_OF_RESOURCES = 0xA700
    DOES_NOT_MATCH_SOP_CLASS = 0xA900
    CANNOT_UNDERSTAND = 0xC000
    OTHER_CONTENT = 0xC001
    OTHER_PATIENT = 0xC002
    TOO_LARGE = 0xC003


@dataclass(frozen=True, slots=True)
class _Request:
    """A C-STORE request: the file as it will be kept, and what the command set and the peer say.

    Of an object that is too large, the file holds no data set.
    """

    file: bytes
    abstract_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str
    peer_address: str
    received_at: datetime
    is_too_large: bool

    def agrees_with(self, found: Identification) -> bool:
        """Whether negotiation, command set and dataset name the same class, and the same instance."""
        classes = {self.abstract_syntax_uid, self.sop_class_uid, found.sop_class_uid}
        return len(classes) == 1 and self.sop_instance_uid == found.sop_instance_uid

    def received(self, found: Identification | None) -> Received:
        """Return what is recorded, with what the dataset says where it could be read."""
        # All that is known of what was not read. Anything may stand there; audit and logs get UIDs only.
        named = self.sop_instance_uid if is_uid(self.sop_instance_uid) else ""
        return as_received(
            found or Identification(self.sop_class_uid, named, "", "", "", "", "", "", is_own_result=False),
            transfer_syntax_uid=self.transfer_syntax_uid,
            calling_ae_title=self.calling_ae_title,
            peer_address=self.peer_address,
            received_at=self.received_at,
        )


class Reception:
    """Stores and records what comes in. Success means: durable on disk, and its row committed."""

    def __init__(
        self,
        *,
        sessions: sessionmaker[Session],
        store: FileStore,
        minimum_free_bytes: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._commits = SharedCommits(sessions)
        self._store = store
        self._minimum_free_bytes = minimum_free_bytes
        self._clock = clock
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    def receive(self, event: Any) -> int:  # noqa: ANN401 -- pynetdicom is untyped
        """Return the status for the C-STORE request `event`; raises nothing, so the association goes on."""
        try:
            if not isinstance(event.request, C_STORE):
                _log.warning("another command than c-store refused")
                return int(Status.UNRECOGNIZED_OPERATION)
            request = _request(event, self._clock())
            status = self._answer(request)
            _log.info(
                "c-store answered",
                status=f"{status:04X}",
                sop_instance_uid=request.received(None).sop_instance_uid,
                calling_ae_title=request.calling_ae_title,
                size_bytes=len(request.file),
            )
        except Exception as error:
            _log_failure("c-store failed", error)
            status = Status.PROCESSING_FAILURE
        return int(status)

    def _answer(self, request: _Request) -> Status:
        try:
            if request.is_too_large:
                _log.warning("c-store refused: the object is too large")
                record_event(self._commits, Event.REFUSED, request.received(None), "refused_too_large")
                return Status.TOO_LARGE
            if self._store.free_bytes() - len(request.file) < self._minimum_free_bytes:
                _log.error("disk nearly full: photographs are refused")
                return Status.OUT_OF_RESOURCES
            return self._take(request)
        except OSError as error:
            _log_failure("file storage failed", error)
            return Status.OUT_OF_RESOURCES
        except SQLAlchemyError as error:
            # Whether it committed is unknown, so the file stays: a repetition finds it, or finds it recorded.
            _log_failure("database failed", error)
            return Status.PROCESSING_FAILURE

    def _take(self, request: _Request) -> Status:
        try:
            found = identify(request.file, request.transfer_syntax_uid)
        except UnusableDatasetError:
            return self._quarantine(request, "unusable", Status.CANNOT_UNDERSTAND)
        if not request.agrees_with(found):
            return self._quarantine(request, "mismatch", Status.DOES_NOT_MATCH_SOP_CLASS)
        taken = request.received(found)
        if found.is_own_result:
            return self._ignore(taken)
        # One after the other where several associations bring the same: they write and delete one file.
        with self._turns[hash(taken.sop_instance_uid) % _TURNS]:
            return self._keep(request, taken)

    def _keep(self, request: _Request, received: Received) -> Status:
        stored = self._store.write("photograph", received.sop_instance_uid, request.file)
        try:
            outcome = record_photograph(self._commits, received, stored)
            while outcome is Outcome.STORED and not self._store.has(stored.path):
                # It had come before, and its patient, maybe its new row too, was erased since it was written.
                self._store.write("photograph", received.sop_instance_uid, request.file)
                outcome = record_photograph(self._commits, received, stored)
        except IntakeRefusedError as refusal:
            # Its content is part of its name, so no other row can point to this file.
            self._store.delete(stored.path)
            if isinstance(refusal, OwnResultError):
                return self._ignore(received)
            record_event(self._commits, Event.REFUSED, received, refusal.outcome)
            return Status.OTHER_PATIENT if isinstance(refusal, OtherPatientError) else Status.OTHER_CONTENT
        return Status.SUCCESS

    def _ignore(self, received: Received) -> Status:
        record_event(self._commits, Event.OWN_RESULT_IGNORED, received, "ignored")
        return Status.SUCCESS

    def _quarantine(self, request: _Request, why: str, status: Status) -> Status:
        self._store.write("quarantine", hashlib.sha256(request.file).hexdigest(), request.file)
        record_event(self._commits, Event.QUARANTINED, request.received(None), why)
        return status


def _log_failure(event: str, error: Exception) -> None:
    # Not the exception itself: without `configure_logs`, structlog prints all local variables with it.
    _log.error(event, error=type(error).__name__, where=innermost(error.__traceback__))


def _request(event: Any, now: datetime) -> _Request:  # noqa: ANN401 -- pynetdicom is untyped
    file_meta = event.file_meta
    # Nothing that changes with a version of ours or of a library: a repetition must give the same bytes.
    file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    file_meta.ImplementationVersionName = "FACENORM"
    dataset = event.request.DataSet
    fragments = dataset.fragments if isinstance(dataset, GatheredDataSet) else [dataset.getvalue()]
    return _Request(
        file=b"".join([b"\0" * 128, b"DICM", encode_file_meta(file_meta), *fragments]),
        abstract_syntax_uid=str(event.context.abstract_syntax),
        sop_class_uid=str(event.request.AffectedSOPClassUID or ""),
        sop_instance_uid=str(event.request.AffectedSOPInstanceUID or ""),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        calling_ae_title=str(event.assoc.requestor.ae_title).strip(),
        peer_address=str(event.assoc.requestor.address),
        received_at=now,
        is_too_large=isinstance(dataset, TooLarge),
    )
