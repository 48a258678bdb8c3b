"""Asking a destination to commit itself to what it stored (PS3.4 annex J, SCU)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt

from dicom_node.caller import Caller, Peer
from dicom_node.commitment_dataset import Reference, build_request
from dicom_node.sender import (
    ASSOCIATION_LOST,
    DELIVERED,
    NO_ASSOCIATION,
    Outcome,
    Verdict,
    why_not_established,
)

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
# The well-known SOP Instance of the push model (PS3.4 J.3.5).
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
_REQUEST_STORAGE_COMMITMENT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentScu(Caller):
    """Makes requests. report_seconds: how long an association stays open for the report to come on it.

    Most archives report on an association of their own, to our listener.
    """

    report_seconds: float = 2.0

    def ask(
        self,
        destination: Peer,
        transaction_uid: str,
        references: Sequence[Reference],
        on_report: Callable[[Dataset], int],
    ) -> Outcome:
        """Make one request; return whether it got through (DELIVERED) or why not.

        on_report: given the report where it comes on the same association; returns the status that
        answers it. Network trouble is an outcome, never an exception.
        """
        reported = threading.Event()

        def take(event: Any) -> tuple[int, None]:  # noqa: ANN401 -- pynetdicom is untyped
            try:
                return on_report(event.event_information), None
            finally:
                reported.set()

        try:
            association = self.associate(
                destination, [(STORAGE_COMMITMENT, None)], handlers=[(evt.EVT_N_EVENT_REPORT, take)]
            )
        except OSError:
            return NO_ASSOCIATION
        if not association.is_established:
            return why_not_established(association)
        try:
            status, _ = association.send_n_action(
                build_request(transaction_uid, references),
                _REQUEST_STORAGE_COMMITMENT,
                STORAGE_COMMITMENT,
                STORAGE_COMMITMENT_INSTANCE,
            )
            outcome = _outcome(status)
            if outcome is DELIVERED:
                reported.wait(self.report_seconds)
            return outcome
        except (RuntimeError, OSError):  # the peer went away
            return ASSOCIATION_LOST
        finally:
            self.release(association)


def _outcome(status: Any) -> Outcome:  # noqa: ANN401 -- pynetdicom is untyped
    if "Status" not in status:
        return ASSOCIATION_LOST
    if int(status.Status) == 0:
        return DELIVERED
    return Outcome(Verdict.TRANSIENT, f"commitment_status_{int(status.Status):04X}")
