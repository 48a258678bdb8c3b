"""The data sets of the Storage Commitment Push Model (PS3.4 annex J, PS3.3 C.14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_node.received_dataset import is_uid

# PS3.3 C.14.1.1: failure reasons.
PROCESSING_FAILURE = 0x0110
NO_SUCH_OBJECT_INSTANCE = 0x0112
CLASS_INSTANCE_CONFLICT = 0x0119

# Event type IDs (PS3.4 table J.3-2).
EVERYTHING_COMMITTED = 1
FAILURES_EXIST = 2

_MOST_REFERENCES = 100_000

# A SOP class UID and a SOP Instance UID.
Reference = tuple[str, str]


class UnusableCommitmentError(Exception):
    """A request or report that does not say what it is about. The text holds no values."""


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """What a peer commits itself to, by SOP Instance UID, and what it refuses, with its reason."""

    transaction_uid: str
    committed: frozenset[str]
    failed: Mapping[str, int]


def build_request(transaction_uid: str, references: Sequence[Reference]) -> Dataset:
    """Return the action information of a request (table J.3-1)."""
    dataset = Dataset()
    dataset.TransactionUID = transaction_uid
    dataset.ReferencedSOPSequence = [_item(reference) for reference in references]
    return dataset


def read_request(dataset: Dataset) -> tuple[str, list[Reference]]:
    """Return the transaction UID and what is to be committed.

    Raises UnusableCommitmentError: a UID is missing or malformed, or nothing is named, or far too many are.
    """
    references = _references(dataset, "ReferencedSOPSequence")
    if not references:
        raise UnusableCommitmentError("ReferencedSOPSequence has no items")
    return _transaction(dataset), references


def build_report(
    transaction_uid: str, committed: Sequence[Reference], failed: Mapping[Reference, int]
) -> tuple[int, Dataset]:
    """Return the event type ID and the event information of a report (table J.3-2)."""
    dataset = Dataset()
    dataset.TransactionUID = transaction_uid
    if committed:
        dataset.ReferencedSOPSequence = [_item(reference) for reference in committed]
    if not failed:
        return EVERYTHING_COMMITTED, dataset
    dataset.FailedSOPSequence = []
    for reference, reason in failed.items():
        item = _item(reference)
        item.FailureReason = reason
        dataset.FailedSOPSequence.append(item)
    return FAILURES_EXIST, dataset


def read_report(dataset: Dataset) -> CommitmentReport:
    """Return what a report says. An instance that it both commits and refuses counts as refused.

    Raises UnusableCommitmentError: a UID is missing or malformed, or there are far too many.
    """
    failed = {
        uid: int(item.get("FailureReason") or PROCESSING_FAILURE)
        for item, (_, uid) in zip(
            dataset.get("FailedSOPSequence") or (), _references(dataset, "FailedSOPSequence"), strict=True
        )
    }
    committed = frozenset(uid for _, uid in _references(dataset, "ReferencedSOPSequence"))
    return CommitmentReport(_transaction(dataset), committed - failed.keys(), failed)


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    return item


def _transaction(dataset: Dataset) -> str:
    return _uid(dataset, "TransactionUID")


def _references(dataset: Dataset, keyword: str) -> list[Reference]:
    items = dataset.get(keyword) or ()
    if len(items) > _MOST_REFERENCES:
        raise UnusableCommitmentError(f"{keyword} has too many items")
    return [(_uid(item, "ReferencedSOPClassUID"), _uid(item, "ReferencedSOPInstanceUID")) for item in items]


def _uid(dataset: Dataset, keyword: str) -> str:
    value = str(dataset.get(keyword) or "").strip(" \0")
    if not is_uid(value):
        raise UnusableCommitmentError(f"{keyword} is missing or malformed")
    return value
