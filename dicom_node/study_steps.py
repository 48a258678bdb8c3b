"""The steps of a study's workflow: score one photograph, report on all of them.

Each step first looks at what is kept already, and writes files before the rows that name them. So it can be
killed anywhere and run again: it finds what is done, and starts over with what is not. Where several workers
share a database, another one may have done the same meanwhile: who commits first has done it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.kept_pictures import KIND as PICTURES
from dicom_node.kept_pictures import packed
from dicom_node.normalized_objects import NormalizedObjects
from dicom_node.outage import outlast
from dicom_node.scorer_loading import StudyScorer
from dicom_node.study_report import StudyReporter
from pipeline.result import FaceImages, Rejection, Score, Scored
from storage.audit import Event, audit_photograph
from storage.file_store import FileStore
from storage.instances import DamagedFileError, StoredFile
from storage.scorings import add_scoring, find_scoring, kept_pictures
from storage.studies import photographs_of
from storage.tables import Photograph, Scoring

_log = structlog.get_logger(__name__)

# Batches of photographs that follow: beyond those that have been scored already there are unscored ones.
_LOOKED_AT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySteps:
    """Both steps with all that they work on.

    reporter: writes the report, and says which objects are made. observe: told the seconds of every stage
    of a new scoring.
    """

    sessions: sessionmaker[Session]
    store: FileStore
    scorer: StudyScorer
    reporter: StudyReporter
    clock: Callable[[], datetime]
    observe: Callable[[Mapping[str, float]], None]

    def score_photograph(self, sop_instance_uid: str, following: Sequence[str] = ()) -> None:
        """Score the photograph and make its objects, each unless it was done under this setup.

        The score is committed before anything is made of it, so that a kill costs no scoring that was done.
        following: photographs of the study whose turn comes later; as many of them as the device gains from
        are scored in the same batch.
        """
        setup = self.scorer.provenance.digest()
        with self.sessions() as session:
            (photograph,) = photographs_of(session, [sop_instance_uid])
            scoring = find_scoring(session, photograph, setup)
        if scoring is not None:
            self._objects.make(photograph, scoring, None)
            return
        batch, files = [photograph], [self.store.absolute(photograph.path)]
        for later in self._unscored(following, setup, self.scorer.most_at_once - 1):
            with suppress(DamagedFileError):  # its own turn tells
                files.append(self.store.absolute(later.path))
                batch.append(later)
        results = self.scorer.score_files(files)
        # All scores first: objects take longer, and can be made of what was kept.
        kept = [
            (one, *self._keep(one, result))
            for one, result in zip(batch, results, strict=True)
            if not isinstance(result, Exception)
        ]
        for one in kept:
            self._objects.make(*one)
        if isinstance(results[0], Exception):
            raise results[0]  # those of the others come up again when it is their turn

    def report_study(self, sop_instance_uids: Sequence[str], reopened: int = 0) -> None:
        """Write one report over these photographs of a study, which succeeds the study's newest one.

        Not where every photograph is covered by a report: this step was killed after its commit, perhaps
        before those of later studies, or a workflow over more photographs came first. reopened: how often the
        study had been asked for anew when the workflow was made.
        """
        setup = self.scorer.provenance.digest()
        with self.sessions() as session:
            photographs = photographs_of(session, list(sop_instance_uids))
        if all(photograph.report_pk is not None for photograph in photographs):
            self.reporter.refresh(sop_instance_uids, setup, reopened)
        else:
            self.reporter.report(sop_instance_uids, setup)

    def _unscored(self, following: Sequence[str], setup: str, most: int) -> list[Photograph]:
        """Return the first `most` of them that have no scoring under the setup."""
        if most < 1:
            return []
        with self.sessions() as session:
            photographs = photographs_of(session, list(following[: _LOOKED_AT * most]))
            return [one for one in photographs if find_scoring(session, one, setup) is None][:most]

    def _keep(self, photograph: Photograph, result: Scored | Rejection) -> tuple[Scoring, FaceImages | None]:
        """Commit a score, with its pictures kept for what is made of it."""
        created = self.clock()
        images, outcome = (result.images, result.score) if isinstance(result, Scored) else (None, result)
        pictures = outlast(lambda: self._keep_pictures(photograph, images)) if images else None
        path = pictures.path if pictures else None
        try:
            scoring = outlast(lambda: self._commit(photograph, outcome, created, path))
        except IntegrityError:
            return self._done_by_another(photograph, path), None
        self.observe(outcome.seconds)
        _log.info("photograph done", sop_instance_uid=photograph.sop_instance_uid, status=scoring.status)
        return scoring, images

    def _keep_pictures(self, photograph: Photograph, images: FaceImages) -> StoredFile:
        return self.store.write(PICTURES, photograph.sop_instance_uid, packed(images))

    def _commit(
        self, photograph: Photograph, outcome: Score | Rejection, created: datetime, pictures_path: str | None
    ) -> Scoring:
        with self.sessions.begin() as session:
            scoring = add_scoring(
                session,
                photograph,
                provenance=self.scorer.provenance,
                result=outcome,
                created_at=created,
                pictures_path=pictures_path,
            )
            audit_photograph(session, Event.SCORED, photograph, at=created, outcome=scoring.status)
        return scoring

    def _done_by_another(self, photograph: Photograph, pictures_path: str | None) -> Scoring:
        """Return the scoring that another worker committed first, and drop our own pictures.

        Raises LookupError where there is none: the photograph has been erased.
        """
        with self.sessions() as session:
            scoring = find_scoring(session, photograph, self.scorer.provenance.digest())
            # An earlier setup's may be the same to the byte.
            kept = kept_pictures(session, photograph)
        if pictures_path and pictures_path not in kept:
            self.store.delete(pictures_path)
        if scoring is None:
            raise LookupError("the photograph is gone")
        _log.info("photograph was done by another worker", sop_instance_uid=photograph.sop_instance_uid)
        return scoring

    @property
    def _objects(self) -> NormalizedObjects:
        return NormalizedObjects(
            sessions=self.sessions,
            store=self.store,
            scorer=self.scorer,
            options=self.reporter.options,
            destinations=self.reporter.destinations,
        )
