"""The steps of a study's workflow: score one photograph, report on all of them.

Each step first looks at what is kept already, writes its files before its rows, and commits all its
rows at once. So it can be killed anywhere and run again: it either finds everything done or starts over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import structlog
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.finished_objects import keep, reference
from dicom_node.kept_pictures import KIND as PICTURES
from dicom_node.kept_pictures import packed
from dicom_node.photograph_header import read_header
from dicom_node.scorer_loading import Scorer
from dicom_node.study_report import StudyReporter
from pipeline.encounter_score import scoring_id
from pipeline.result import Scored
from reports.normalized_photograph import build_normalized_in_place, build_normalized_photograph
from reports.options import ResultObject
from storage.artefacts import (
    NORMALIZED_IN_PLACE,
    NORMALIZED_PHOTOGRAPH,
    FinishedObject,
    add_artefact,
    latest_of_photograph,
)
from storage.audit import Event, audit_photograph
from storage.instances import InstanceStore
from storage.scorings import add_scoring, find_scoring
from storage.studies import newest_files, photographs_of
from storage.tables import Artefact, Encounter, Patient

_Build = Callable[..., FileDataset]
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
        """Score the photograph and keep its pictures, unless it was scored under this setup."""
        setup = self.scorer.provenance.digest()
        with self.sessions() as session:
            (photograph,) = photographs_of(session, [sop_instance_uid])
            if find_scoring(session, photograph, setup) is not None:
                return
            encounter = session.get_one(Encounter, photograph.encounter_pk)
            patient = session.get_one(Patient, encounter.patient_pk)
            others = newest_files(session, patient.id)
            predecessors = {
                kind: latest_of_photograph(session, photograph, kind)
                for kind in (NORMALIZED_PHOTOGRAPH, NORMALIZED_IN_PLACE)
            }
        result = self.scorer.score_file(self.store.absolute(photograph.path))
        created = self.clock()
        made: list[FinishedObject] = []
        pictures = None
        if isinstance(result, Scored):
            path = self.store.absolute(photograph.path)
            header = read_header(path, patient, (self.store.absolute(other) for other in others))
            made = self._made(header, result, predecessors, created)
            pictures = self.store.write(PICTURES, sop_instance_uid, packed(result.images)).path
        outcome = result.score if isinstance(result, Scored) else result
        with self.sessions.begin() as session:
            scoring = add_scoring(
                session,
                photograph,
                provenance=self.scorer.provenance,
                result=outcome,
                created_at=created,
                pictures_path=pictures,
            )
            audit_photograph(session, Event.SCORED, photograph, at=created, outcome=scoring.status)
            for finished in made:
                add_artefact(
                    session,
                    finished,
                    encounter_pk=photograph.encounter_pk,
                    scorings=[scoring],
                    predecessor=predecessors[finished.kind],
                    destinations=self.reporter.destinations,
                    created_at=created,
                    shown=[scoring_id(sop_instance_uid, setup)],
                )
        self.observe(outcome.seconds)
        _log.info("photograph done", sop_instance_uid=sop_instance_uid, status=scoring.status)

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

    def _made(
        self,
        header: FileDataset,
        result: Scored,
        predecessors: dict[str, Artefact | None],
        created: datetime,
    ) -> list[FinishedObject]:
        """Return the normalized photographs that the options ask for, kept as files."""
        options, images = self.reporter.options, result.images
        wanted: list[tuple[ResultObject, str, _Build, NDArray[np.uint8] | None]] = [
            (
                ResultObject.NORMALIZED,
                NORMALIZED_PHOTOGRAPH,
                build_normalized_photograph,
                images.normalized,
            ),
            (ResultObject.IN_PLACE, NORMALIZED_IN_PLACE, build_normalized_in_place, images.in_place),
        ]
        return [
            keep(
                self.store,
                kind,
                build(
                    header,
                    pixels,
                    result.score,
                    created,
                    options.image_sop_class,
                    reference(predecessors[kind]),
                ),
            )
            for chosen, kind, build, pixels in wanted
            if pixels is not None and options.sends(chosen)
        ]
