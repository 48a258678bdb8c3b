"""Studies whose scoring failed for good, given another chance."""

from __future__ import annotations

from sqlalchemy.orm import Session, sessionmaker

from dicom_node.queue_place import existing_queue
from dicom_node.settings import Settings
from dicom_node.stored_queue import REPORT, forget_failed_workflows
from storage.workers import forget_hand_backs


def forget_failed_studies(settings: Settings, sessions: sessionmaker[Session]) -> int:
    """Forget that they failed, and how many workers they ended, for the next sweep; return how many."""
    queue = existing_queue(settings)
    studies = forget_failed_workflows(queue) if queue else []
    with sessions.begin() as session:
        forget_hand_backs(session, [name for study in studies for name in (study, f"{study}{REPORT}")])
    return len(studies)
