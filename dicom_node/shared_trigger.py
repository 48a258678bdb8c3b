"""Quiet studies on PostgreSQL: each gets its workflow under what the living workers score with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session, sessionmaker

from dicom_node.shared_queue import SharedQueue
from dicom_node.trigger import workflow_id
from storage.studies import OpenStudy, quiet_studies
from storage.workers import Scores, living_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedTrigger:
    """Starts one workflow per quiet study and set of photographs, under the setup that was started last.

    While workers of two setups live side by side, what waits under the older one stays there. While none
    lives, studies wait in the database.
    """

    sessions: sessionmaker[Session]
    queue: SharedQueue
    clock: Callable[[], datetime]
    quiet_seconds: float

    def sweep(self) -> int:
        """Submit every quiet study that has no workflow yet; return how many were new."""
        with self.sessions() as session:
            scores = living_scores(session)
            studies = quiet_studies(session, now=self.clock(), quiet_seconds=self.quiet_seconds)
        if not scores or not studies:
            return 0
        identifiers = [[workflow_id(study, one.setup_digest) for one in scores] for study in studies]
        known = self.queue.known([name for names in identifiers for name in names])
        new = [
            (names[0], study)
            for names, study in zip(identifiers, studies, strict=True)
            if known.isdisjoint(names)
        ]
        self._submit(new, scores[0])
        return len(new)

    def _submit(self, new: Sequence[tuple[str, OpenStudy]], scores: Scores) -> None:
        for name, study in new:
            self.queue.submit(name, study, scores.application_version)
