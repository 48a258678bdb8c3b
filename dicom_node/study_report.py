"""Everything that is told of a study once its photographs are scored: comparisons, and the report over all.

What must be told follows from the database alone, so the same state asks for the same objects however often
this runs, and nothing new is made where the newest report shows all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from pydicom import dcmread
from pydicom.dataset import FileDataset
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.finished_objects import keep, reference
from dicom_node.kept_pictures import unpacked
from pipeline.encounter_score import EncounterScore, scoring_id
from pipeline.result import Rejection, Score
from reports.comparison_image import build_comparison_image
from reports.options import ReportOptions, ResultObject
from reports.reported_photograph import (
    PredecessorReport,
    ReportedCourse,
    ReportedPhotograph,
)
from reports.structured_report import build_structured_report
from storage.artefacts import (
    COMPARISON,
    NORMALIZED_IN_PLACE,
    NORMALIZED_PHOTOGRAPH,
    STRUCTURED_REPORT,
    FinishedObject,
    add_artefact,
    cover_photographs,
    latest_of_photograph,
    latest_report,
    object_of_scoring,
)
from storage.encounter_scores import encounter_scores
from storage.instances import InstanceStore
from storage.scorings import find_scoring, result_of
from storage.studies import later_covered_photographs, photographs_of
from storage.tables import Artefact, Encounter, Photograph, Scoring

_log = structlog.get_logger(__name__)


class MissingScoringError(RuntimeError):
    """A report was to be written before every photograph had its scoring."""


@dataclass(frozen=True, slots=True)
class _Told:
    """A photograph with all that is kept about it. made: kind -> the object of this scoring."""

    photograph: Photograph
    scoring: Scoring
    result: Score | Rejection
    made: dict[str, Artefact]
    last_comparison: Artefact | None

    @property
    def scoring_id(self) -> str:
        return scoring_id(self.photograph.sop_instance_uid, self.scoring.setup_digest)


@dataclass(frozen=True, slots=True)
class _Study:
    """A study as the database has it now. course: None where no photograph has a score."""

    encounter: Encounter
    told: list[_Told]
    course: ReportedCourse | None
    predecessor: Artefact | None

    @property
    def shown(self) -> list[str]:
        """The name of every scoring that its report shows."""
        earlier = self.course.scoring_ids if self.course else []
        return sorted({*(one.scoring_id for one in self.told), *earlier})


@dataclass(slots=True)
class _New:
    """An object whose file is durable and whose row is not written yet."""

    finished: FinishedObject
    scorings: list[Scoring]
    shown: Sequence[str]
    predecessor: Artefact | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyReporter:
    """Writes what a study's report needs. destinations: AE titles; each object gets a delivery to each."""

    sessions: sessionmaker[Session]
    store: InstanceStore
    destinations: tuple[str, ...]
    clock: Callable[[], datetime]
    options: ReportOptions = field(default_factory=ReportOptions)

    def report(self, sop_instance_uids: Sequence[str], setup: str) -> None:
        """Report on these photographs of a study, all scored under `setup`, and refresh the newest study's.

        Raises MissingScoringError where one has no scoring under `setup`.
        """
        self._report(sop_instance_uids, setup)
        with self.sessions() as session:
            later = later_covered_photographs(session, sop_instance_uids[0], setup)
        if later:
            self._report(later, setup)

    def _report(self, sop_instance_uids: Sequence[str], setup: str) -> None:
        with self.sessions() as session:
            study = _study(session, sop_instance_uids, setup)
        if study.predecessor is not None and study.predecessor.shown == study.shown:
            with self.sessions.begin() as session:
                cover_photographs(session, study.predecessor, [one.photograph for one in study.told])
            return
        created = self.clock()
        made = self._comparisons(study, created)
        report = self._structured_report(study, made, created)
        with self.sessions.begin() as session:
            for one in (*made.values(), report):
                row = add_artefact(
                    session,
                    one.finished,
                    encounter_pk=study.encounter.id,
                    scorings=one.scorings,
                    predecessor=one.predecessor,
                    destinations=self.destinations,
                    created_at=created,
                    shown=one.shown,
                )
            cover_photographs(session, row, [one.photograph for one in study.told])
        _log.info(
            "report done", sop_instance_uid=report.finished.sop_instance_uid, photographs=len(study.told)
        )

    def _comparisons(self, study: _Study, created: datetime) -> dict[int, _New]:
        """Return scoring key -> comparison, for each score that has none which shows all there is."""
        course = study.course
        if course is None or not self.options.sends(ResultObject.COMPARISON):
            return {}
        made = {}
        for one in study.told:
            path = one.scoring.pictures_path
            if not isinstance(one.result, Score) or path is None or _shows(one.last_comparison, course):
                continue
            image = build_comparison_image(
                self._header(one.photograph),
                unpacked(self.store.read(path)),
                one.result,
                course.encounter,
                course.history,
                created,
                reference(one.last_comparison),
            )
            finished = keep(self.store, COMPARISON, image)
            made[one.scoring.id] = _New(finished, [one.scoring], course.scoring_ids, one.last_comparison)
        return made

    def _structured_report(self, study: _Study, made: dict[int, _New], created: datetime) -> _New:
        photographs = [self._reported(one, made.get(one.scoring.id)) for one in study.told]
        report = build_structured_report(
            photographs,
            _predecessor(study.encounter, study.predecessor),
            created,
            course=study.course,
            sop_class_uid=self.options.report_sop_class,
        )
        scorings = [one.scoring for one in study.told]
        return _New(keep(self.store, STRUCTURED_REPORT, report), scorings, study.shown, study.predecessor)

    def _reported(self, one: _Told, comparison: _New | None) -> ReportedPhotograph:
        others = [
            reference(one.made.get(NORMALIZED_IN_PLACE)),
            reference(comparison.finished if comparison else one.last_comparison),
        ]
        return ReportedPhotograph(
            source=self._header(one.photograph),
            result=one.result,
            normalized=reference(one.made.get(NORMALIZED_PHOTOGRAPH)),
            scoring_id=one.scoring_id,
            further=tuple(other for other in others if other is not None),
        )

    def _header(self, photograph: Photograph) -> FileDataset:
        return dcmread(self.store.absolute(photograph.path), stop_before_pixels=True)


def _shows(comparison: Artefact | None, course: ReportedCourse) -> bool:
    return comparison is not None and comparison.shown == course.scoring_ids


def _study(session: Session, sop_instance_uids: Sequence[str], setup: str) -> _Study:
    photographs = photographs_of(session, list(sop_instance_uids))
    encounter = session.get_one(Encounter, photographs[0].encounter_pk)
    told = [_told(session, photograph, setup) for photograph in photographs]
    history = tuple(encounter_scores(session, encounter.patient_pk, setup))
    own = next((one for one in history if _is_of(one, encounter, setup)), None)
    return _Study(
        encounter=encounter,
        told=told,
        course=ReportedCourse(own, history) if own else None,
        predecessor=latest_report(session, encounter.id),
    )


def _is_of(score: EncounterScore, encounter: Encounter, setup: str) -> bool:
    return score.study_instance_uid == encounter.study_instance_uid and score.setup_digest == setup


def _told(session: Session, photograph: Photograph, setup: str) -> _Told:
    scoring = find_scoring(session, photograph, setup)
    if scoring is None:
        raise MissingScoringError(f"{photograph.sop_instance_uid} has no scoring under the current setup")
    kinds = (NORMALIZED_PHOTOGRAPH, NORMALIZED_IN_PLACE)
    found = {kind: object_of_scoring(session, photograph.encounter_pk, scoring, kind) for kind in kinds}
    return _Told(
        photograph,
        scoring,
        result_of(scoring),
        {kind: row for kind, row in found.items() if row is not None},
        latest_of_photograph(session, photograph, COMPARISON),
    )


def _predecessor(encounter: Encounter, report: Artefact | None) -> PredecessorReport | None:
    found = reference(report)
    return PredecessorReport(encounter.study_instance_uid, found) if found else None
