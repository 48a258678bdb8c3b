"""A study that has been quiet long enough gets its workflow.

A sweep over the database was chosen over DBOS's `Debouncer`: what has to be done is read from the
rows that the receiver committed, so a kill at any point loses nothing, and the same sweep finds
what was received while no node ran.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session, sessionmaker

from dicom_node.fair_share import fair_share
from dicom_node.stored_queue import REPORT
from storage.studies import OpenStudy, quiet_studies


class TakesStudies(Protocol):
    """What the trigger needs of the workflow queue."""

    def submit(self, workflow_id: str, study: OpenStudy, /) -> None:
        """Enqueue the study's workflow unless one with this id exists."""
        ...

    def known(self, workflow_ids: Sequence[str], /) -> set[str]:
        """Return those ids that have a workflow already, in whatever state."""
        ...

    def unfinished(self, workflow_ids: Sequence[str], /) -> set[str]:
        """Return those ids whose workflow waits or runs."""
        ...


def workflow_id(study: OpenStudy, setup_digest: str) -> str:
    """Return the id that makes a workflow unique: study UID, digest of its photographs, scoring setup.

    And how often the study was reopened, where it was.
    """
    photographs = hashlib.sha256("\n".join(sorted(study.photographs)).encode()).hexdigest()
    again = f":{study.reopened}" if study.reopened else ""
    return f"{study.study_instance_uid}:{photographs[:16]}:{setup_digest[:12]}{again}"


def times_reopened(identifier: str) -> int:
    """Return how often the study had been reopened when this workflow, or its report's, was made."""
    parts = identifier.removesuffix(REPORT).split(":")
    return int(parts[3]) if len(parts) > 3 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Starts one workflow per quiet study and set of photographs.

    most_waiting: of one sender and urgency in the queue at a time; 0: any number.
    """

    sessions: sessionmaker[Session]
    workflows: TakesStudies
    clock: Callable[[], datetime]
    quiet_seconds: float
    setup_digest: str
    most_waiting: int = 0

    def sweep(self) -> int:
        """Submit every quiet study that has no workflow yet; return how many were new."""
        with self.sessions() as session:
            studies = quiet_studies(session, now=self.clock(), quiet_seconds=self.quiet_seconds)
        by_id = {workflow_id(study, self.setup_digest): study for study in studies}
        known = self.workflows.known(list(by_id))
        new = [(identifier, study) for identifier, study in by_id.items() if identifier not in known]
        waiting = self.workflows.unfinished(list(known)) if new and self.most_waiting else set()
        chosen = fair_share(new, (by_id[identifier] for identifier in waiting), most=self.most_waiting)
        for identifier, study in chosen:
            self.workflows.submit(identifier, study)
        return len(chosen)
