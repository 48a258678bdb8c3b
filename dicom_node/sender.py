"""C-STORE of kept objects to a destination (PS3.4 Annex B, storage service class, SCU)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import _config
from pynetdicom.association import Association

from dicom_node.caller import Caller, Peer

# With this, a file's data set goes out byte for byte; otherwise pynetdicom decodes and encodes it anew.
_config.STORE_SEND_CHUNKED_DATASET = True


class Verdict(StrEnum):
    """What to do with a delivery after an attempt."""

    DELIVERED = "delivered"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    NOT_TRIED = "not_tried"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt's verdict and, where it failed, the class of the failure: a short text without data."""

    verdict: Verdict
    error: str | None = None


DELIVERED = Outcome(Verdict.DELIVERED)
NO_ASSOCIATION = Outcome(Verdict.TRANSIENT, "no_association")
ASSOCIATION_REJECTED = Outcome(Verdict.TRANSIENT, "association_rejected")
ASSOCIATION_LOST = Outcome(Verdict.TRANSIENT, "association_lost")
# An earlier object of the batch took the association with it; this one had no attempt.
NOT_TRIED = Outcome(Verdict.NOT_TRIED)
NO_ACCEPTED_CONTEXT = Outcome(Verdict.PERMANENT, "no_accepted_context")
UNREADABLE_FILE = Outcome(Verdict.PERMANENT, "unreadable_file")
# The disk is away, or too many files are open: the next attempt may read it.
FILE_NOT_READ = Outcome(Verdict.TRANSIENT, "file_not_read")

_DUPLICATE_SOP_INSTANCE = 0x0111
# PS3.7 Annex C: answers that another attempt with the same bytes cannot change.
_PERMANENT_STATUSES = frozenset({0x0117, 0x0119, 0x0122, 0x0124, 0x0211, 0x0212})


def classify_status(status: int) -> Outcome:
    """Return what a C-STORE response status (PS3.4 B.2.3, PS3.7 Annex C) means for a delivery.

    Warnings (Bxxx) mean that the object was stored; so does "duplicate SOP instance", since what is
    sent again is the same bytes. Out of resources (A7xx), processing failure (0110) and every
    unknown status may pass; A9xx, Cxxx and a refused SOP class will not.
    """
    if status == 0x0000 or status & 0xF000 == 0xB000 or status == _DUPLICATE_SOP_INSTANCE:
        return DELIVERED
    error = f"status_{status:04X}"
    permanent = status in _PERMANENT_STATUSES or status & 0xFF00 == 0xA900 or status & 0xF000 == 0xC000
    return Outcome(Verdict.PERMANENT if permanent else Verdict.TRANSIENT, error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender(Caller):
    """Sends files under our AE title."""

    def send(self, destination: Peer, files: Sequence[Path]) -> list[Outcome]:
        """Send DICOM files (PS3.10) over one association; return one outcome per file, in order.

        Network trouble and unreadable files are outcomes, never exceptions. The presentation contexts
        are exactly those of the files, which must be of at most 128 kinds.
        """
        kinds = [_kind(path) for path in files]
        outcomes = [kind if isinstance(kind, Outcome) else NO_ASSOCIATION for kind in kinds]
        contexts = sorted({kind for kind in kinds if not isinstance(kind, Outcome)})
        if not contexts:
            return outcomes
        try:
            association = self.associate(destination, contexts)
        except OSError:  # the host's name cannot be resolved just now, or no socket is to be had
            return outcomes
        if not association.is_established:
            failure = why_not_established(association)
            return [kind if isinstance(kind, Outcome) else failure for kind in kinds]
        try:
            _store_all(association, kinds, files, outcomes)
        finally:
            self.release(association)
        return outcomes


def why_not_established(association: Association) -> Outcome:
    """Return what it means that this association was not established."""
    if association.is_rejected:
        return ASSOCIATION_REJECTED
    # pynetdicom gives up an association of which the peer accepted no context at all.
    return NO_ACCEPTED_CONTEXT if association.rejected_contexts else NO_ASSOCIATION


def _store_all(
    association: Association,
    kinds: Sequence[tuple[str, str] | Outcome],
    files: Sequence[Path],
    outcomes: list[Outcome],
) -> None:
    """Send every readable file and put what came of it into its place in `outcomes`."""
    accepted = {
        (str(context.abstract_syntax), str(context.transfer_syntax[0]))
        for context in association.accepted_contexts
    }
    lost = False
    for index, (kind, path) in enumerate(zip(kinds, files, strict=True)):
        if isinstance(kind, Outcome):
            continue
        if kind not in accepted:
            outcomes[index] = NO_ACCEPTED_CONTEXT
        elif lost:
            outcomes[index] = NOT_TRIED
        else:
            outcomes[index] = _store(association, path)
            lost = outcomes[index] is ASSOCIATION_LOST


def _store(association: Association, path: Path) -> Outcome:
    try:
        response: Any = association.send_c_store(path)
    except (RuntimeError, OSError):  # the peer went away
        return ASSOCIATION_LOST
    # A response without a status: time ran out or the peer aborted.
    return classify_status(int(response.Status)) if "Status" in response else ASSOCIATION_LOST


def _kind(path: Path) -> tuple[str, str] | Outcome:
    """Return SOP class and transfer syntax UIDs of a file, or what it means that they cannot be read."""
    try:
        meta = read_file_meta_info(path)
        return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
    except (FileNotFoundError, InvalidDicomError, AttributeError, ValueError, EOFError):
        return UNREADABLE_FILE
    except OSError:
        return FILE_NOT_READ
