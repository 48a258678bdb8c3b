"""What can be mended after a kill, a failing disk or a restored backup."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.received_dataset import Identification, UnusableDatasetError, as_received, identify
from storage.audit import MINOR_FAILURE, SUCCESS, Event, add_audit_event
from storage.consistency import PHOTOGRAPH, Fault, Finding
from storage.deliveries import DEAD, DUE, UNCOMMITTED, revive
from storage.file_store import FileStore
from storage.instances import DamagedFileError, StoredFile
from storage.intake import IntakeRefusedError, Outcome, OwnResultError, record_photograph
from storage.shared_commits import SharedCommits
from storage.tables import Delivery, Photograph, Scoring

# Of a row that was written by `facenorm check`: nobody sent it just now.
_ACTOR = "facenorm check"


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done about a finding; `complete` when nothing is left to do."""

    finding: Finding
    action: str
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """Mends findings, one transaction each; the node must not run."""

    sessions: sessionmaker[Session]
    store: FileStore
    clock: Callable[[], datetime]

    def mend(self, findings: Sequence[Finding]) -> list[Mended]:
        """Do what can be done about each finding, and return what it was."""
        return [self._mend(finding) for finding in findings]

    def _mend(self, finding: Finding) -> Mended:
        if finding.fault is Fault.ORPHAN_FILE:
            mended = self._take_in(finding) if finding.kind == PHOTOGRAPH else self._remove(finding)
        elif finding.fault in (Fault.MISSING_FILE, Fault.DAMAGED_FILE):
            mended = self._without_file(finding)
        elif finding.fault is Fault.DEAD_DELIVERY:
            mended = self._revive(finding)
        else:
            return Mended(finding, "left: restore the database from a backup", False)
        with self.sessions.begin() as session:
            add_audit_event(
                session,
                Event.REPAIRED,
                at=self.clock(),
                actor=_ACTOR,
                outcome="success" if mended.complete else "incomplete",
                indicator=SUCCESS if mended.complete else MINOR_FAILURE,
                detail={"SOPInstanceUID": finding.sop_instance_uid, "what": finding.fault.value},
            )
        return mended

    def _take_in(self, finding: Finding) -> Mended:
        """Record a photograph that was written and no more: its sender has no Success for it."""
        try:
            content = self.store.read(finding.path)
        except DamagedFileError:
            return Mended(finding, "left: its content is not what its name says", False)
        try:
            meta = read_file_meta_info(self.store.absolute(finding.path))
            found = identify(content, str(meta.TransferSyntaxUID))
            _refuse_what_the_receiver_would(meta, found)
            taken = as_received(
                found,
                transfer_syntax_uid=str(meta.TransferSyntaxUID),
                calling_ae_title="",
                peer_address="",
                received_at=self.clock(),
            )
            stored = StoredFile(finding.path, hashlib.sha256(content).hexdigest(), len(content))
            outcome = record_photograph(SharedCommits(self.sessions), taken, stored)
        except (UnusableDatasetError, IntakeRefusedError, InvalidDicomError, AttributeError):
            self.store.write("quarantine", hashlib.sha256(content).hexdigest(), content)
            self.store.delete(finding.path)
            return Mended(finding, "moved to quarantine: the receiver would not have kept it", True)
        if outcome is Outcome.ALREADY_STORED:  # it came once more while retention took it away
            return Mended(finding, "recorded as there, for retention to take it away", True)
        return Mended(finding, "recorded, to be scored", True)

    def _remove(self, finding: Finding) -> Mended:
        # Written before its row, so never sent; the study's workflow makes it anew.
        self.store.delete(finding.path)
        return Mended(finding, "removed: it was never recorded, so never sent", True)

    def _without_file(self, finding: Finding) -> Mended:
        with self.sessions.begin() as session:
            if finding.kind != PHOTOGRAPH:
                return self._hold_deliveries(session, finding)
            scored = select(Scoring.id).where(Scoring.photograph_pk == finding.row)
            if session.scalar(scored.limit(1)) is not None:
                return Mended(finding, "left, its score stands: send the photograph again", False)
            session.delete(session.get_one(Photograph, finding.row))
        self.store.delete(finding.path)
        return Mended(finding, "forgotten: send the photograph again", True)

    def _hold_deliveries(self, session: Session, finding: Finding) -> Mended:
        session.execute(
            update(Delivery)
            .where(Delivery.artefact_pk == finding.row, Delivery.state.in_((DUE, UNCOMMITTED)))
            .values(state=DEAD, last_error="unreadable_file")
        )
        return Mended(finding, "not sent any more: restore the file from a backup, then retry", False)

    def _revive(self, finding: Finding) -> Mended:
        try:
            self.store.read(finding.path)
        except (OSError, ValueError):
            return Mended(finding, "left: its file is not there", False)
        with self.sessions.begin() as session:
            revive(session, now=self.clock(), ids=[finding.row] if finding.row is not None else [])
        return Mended(finding, "due again", True)


def _refuse_what_the_receiver_would(meta: Dataset, found: Identification) -> None:
    if found.is_own_result:
        raise OwnResultError("a result of facenorm's own")
    if (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID) != (
        found.sop_class_uid,
        found.sop_instance_uid,
    ):
        raise UnusableDatasetError("the file names another instance than its data set")
