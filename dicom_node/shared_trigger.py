"""Quiet studies on PostgreSQL: each gets its workflow under what the living workers score with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session, sessionmaker

from dicom_node.fair_share import fair_share
from dicom_node.shared_queue import SharedQueue
from dicom_node.trigger import workflow_id
from storage.studies import quiet_studies
from storage.workers import living_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedTrigger:
    """Starts one workflow per quiet study and set of photographs, under the setup that was started last.

    While workers of two setups live side by side, what waits under the older one stays there. While none
    lives, studies wait in the database. most_waiting: of one sender and urgency in the queue at a time; 0:
    any number.
    """

    sessions: sessionmaker[Session]
    queue: SharedQueue
    clock: Callable[[], datetime]
    quiet_seconds: float
    most_waiting: int = 0

    def sweep(self) -> int:
        """Submit every quiet study that has no workflow yet and a place in the queue; return how many."""
        with self.sessions() as session:
            scores = living_scores(session)
            studies = quiet_studies(session, now=self.clock(), quiet_seconds=self.quiet_seconds)
        if not scores or not studies:
            return 0
        by_id = {workflow_id(study, one.setup_digest): study for study in studies for one in scores}
        known = self.queue.known(list(by_id))
        there = {by_id[name].study_instance_uid for name in known}
        new = [
            (workflow_id(study, scores[0].setup_digest), study)
            for study in studies
            if study.study_instance_uid not in there
        ]
        waiting = self.queue.unfinished(known) if new and self.most_waiting else set()
        chosen = fair_share(new, (by_id[name] for name in waiting), most=self.most_waiting)
        for name, study in chosen:
            self.queue.submit(name, study, scores[0].application_version)
        return len(chosen)
