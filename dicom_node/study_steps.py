"""The steps of a study's workflow: score one photograph, report on all of them.

Each step first looks at what is kept already, and writes files before the rows that name them. So it can be
killed anywhere and run again: it finds what is done, and starts over with what is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.kept_pictures import KIND as PICTURES
from dicom_node.kept_pictures import packed
from dicom_node.normalized_objects import NormalizedObjects
from dicom_node.scorer_loading import Scorer
from dicom_node.study_report import StudyReporter
from pipeline.result import FaceImages, Scored
from storage.audit import Event, audit_photograph
from storage.instances import InstanceStore
from storage.scorings import add_scoring, find_scoring
from storage.studies import photographs_of
from storage.tables import Photograph, Scoring

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySteps:
    """Both steps with all that they work on.

    reporter: writes the report, and says which objects are made. observe: told the seconds of every stage
    of a new scoring.
    """

    sessions: sessionmaker[Session]
    store: InstanceStore
    scorer: Scorer
    reporter: StudyReporter
    clock: Callable[[], datetime]
    observe: Callable[[Mapping[str, float]], None]

    def score_photograph(self, sop_instance_uid: str) -> None:
        """Score the photograph and make its objects, each unless it was done under this setup.

        The score is committed before anything is made of it, so that a kill costs no scoring that was done.
        """
        setup = self.scorer.provenance.digest()
        with self.sessions() as session:
            (photograph,) = photographs_of(session, [sop_instance_uid])
            scoring = find_scoring(session, photograph, setup)
        images = None
        if scoring is None:
            scoring, images = self._score(photograph)
        self._objects.make(photograph, scoring, images)

    def report_study(self, sop_instance_uids: Sequence[str]) -> None:
        """Write one report over these photographs of a study, which succeeds the study's newest one.

        Does nothing where every photograph is covered by a report: this step was killed after its
        commit, or a workflow over more photographs came first.
        """
        with self.sessions() as session:
            photographs = photographs_of(session, list(sop_instance_uids))
        if all(photograph.report_pk is not None for photograph in photographs):
            return
        self.reporter.report(sop_instance_uids, self.scorer.provenance.digest())

    def _score(self, photograph: Photograph) -> tuple[Scoring, FaceImages | None]:
        """Score the photograph and commit the score, with its pictures kept for what is made of it."""
        result = self.scorer.score_file(self.store.absolute(photograph.path))
        created = self.clock()
        images, outcome = (result.images, result.score) if isinstance(result, Scored) else (None, result)
        pictures = self.store.write(PICTURES, photograph.sop_instance_uid, packed(images)) if images else None
        with self.sessions.begin() as session:
            scoring = add_scoring(
                session,
                photograph,
                provenance=self.scorer.provenance,
                result=outcome,
                created_at=created,
                pictures_path=pictures.path if pictures else None,
            )
            audit_photograph(session, Event.SCORED, photograph, at=created, outcome=scoring.status)
        self.observe(outcome.seconds)
        _log.info("photograph done", sop_instance_uid=photograph.sop_instance_uid, status=scoring.status)
        return scoring, images

    @property
    def _objects(self) -> NormalizedObjects:
        return NormalizedObjects(
            sessions=self.sessions,
            store=self.store,
            scorer=self.scorer,
            options=self.reporter.options,
            destinations=self.reporter.destinations,
        )
