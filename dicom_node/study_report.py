"""Everything that is told of a study once its photographs are scored: comparisons, and the report over all.

What must be told follows from the database alone, so the same state asks for the same objects however often
this runs, and nothing new is made where the newest report shows all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import structlog
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.finished_objects import Unrecorded, reference
from dicom_node.kept_pictures import read_image, read_panels
from dicom_node.photograph_header import read_header
from dicom_node.told_study import ToldPhotograph, ToldStudy, read_study
from pipeline.result import Score
from reports.options import ReportOptions, ResultObject
from reports.reported_photograph import (
    ObjectReference,
    PredecessorReport,
    ReportedPhotograph,
)
from reports.structured_report import build_structured_report
from storage.artefacts import (
    COMPARISON,
    NORMALIZED_IN_PLACE,
    NORMALIZED_PHOTOGRAPH,
    PATIENT_PDF,
    STRUCTURED_REPORT,
    TREND,
    FinishedObject,
    add_artefact,
    cover_photographs,
)
from storage.file_store import FileStore
from storage.patients import lock_patient
from storage.studies import later_covered_studies
from storage.tables import Artefact, Encounter, Photograph, Scoring

_log = structlog.get_logger(__name__)

# How often a report is begun anew when another worker changes its study meanwhile.
_ATTEMPTS = 5


class StudyChangesError(RuntimeError):
    """What a report has to show changed time and again while it was written; the step is tried again."""


@dataclass(slots=True)
class _New:
    """An object whose file is durable and whose row is not written yet."""

    finished: FinishedObject
    scorings: list[Scoring]
    shown: Sequence[str]
    predecessor: Artefact | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyReporter:
    """Writes what a study's report needs. destinations: AE titles; each object gets a delivery to each.

    alone: whether no other process reports. Then a score that comes while a report is made needs no second
    try: the report on its own study refreshes this one.
    """

    sessions: sessionmaker[Session]
    store: FileStore
    destinations: tuple[str, ...]
    clock: Callable[[], datetime]
    options: ReportOptions = field(default_factory=ReportOptions)
    alone: bool = False

    def report(self, sop_instance_uids: Sequence[str], setup: str) -> None:
        """Report on these photographs of a study, all scored under `setup`, and refresh later ones.

        Raises MissingScoringError where one has no scoring under `setup`.
        """
        self._report(sop_instance_uids, setup)
        self._refresh_later(sop_instance_uids, setup)

    def refresh(self, sop_instance_uids: Sequence[str], setup: str, reopened: int) -> None:
        """Refresh the later ones alone: whoever told the study may have been killed before.

        Not where another setup has told it since: what is later is that one's, too. But the study itself
        where it was asked for anew (`reopened`, how often) for us: what told it was work of before.
        """
        with self.sessions() as session:
            study = read_study(session, sop_instance_uids, setup)
        if study.predecessor is not None and study.is_among(study.predecessor):
            self._refresh_later(sop_instance_uids, setup)
        elif reopened and reopened == study.encounter.reopened:
            self.report(sop_instance_uids, setup)

    def _refresh_later(self, sop_instance_uids: Sequence[str], setup: str) -> None:
        with self.sessions() as session:
            later = later_covered_studies(session, sop_instance_uids[0], setup)
        for photographs in later:
            self._report(photographs, setup)

    def _report(self, sop_instance_uids: Sequence[str], setup: str) -> None:
        """Report on the study as it is; begin anew where another worker changed it meanwhile.

        At last, a score that came meanwhile is left to its own study's report, which refreshes this one: of a
        patient whose photographs are scored one after the other there would be no end.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            with self.sessions() as session:
                study = read_study(session, sop_instance_uids, setup)
            if self._tell(study, setup, as_read=self.alone or attempt == _ATTEMPTS):
                return
        raise StudyChangesError("other workers kept changing what a study's report has to show")

    def _tell(self, study: ToldStudy, setup: str, *, as_read: bool) -> bool:
        """Whether the study is told of now; otherwise nothing was done.

        as_read: also without the scores that came meanwhile.
        """
        if study.predecessor is not None and study.is_told_by(study.predecessor):
            return self._covered(study, study.predecessor)
        created = self.clock()
        with Unrecorded(self.sessions, self.store) as files:
            made = self._comparisons(study, files, created)
            whole = self._of_the_encounter(study, files, made, created)
            report = self._structured_report(study, files, made, whole.get(TREND), created)
            new = [*made.values(), *whole.values(), report]
            if not self._committed(study, new, setup, created, as_read=as_read):
                files.discard()
                return False
        _log.info(
            "report done", sop_instance_uid=report.finished.sop_instance_uid, photographs=len(study.told)
        )
        return True

    def _covered(self, study: ToldStudy, report: Artefact) -> bool:
        """Let the report that tells the study cover it, unless it was merged meanwhile."""
        with self.sessions.begin() as session:
            lock_patient(session, study.of_patient.id)
            if session.get_one(Encounter, study.encounter.id).patient_pk != study.of_patient.id:
                return False
            cover_photographs(session, report, [one.photograph for one in study.told])
        return True

    def _committed(
        self, study: ToldStudy, new: Sequence[_New], setup: str, created: datetime, *, as_read: bool
    ) -> bool:
        """Record the objects, the report last, unless the study is no longer what they were made from.

        Never under a patient who has been merged into another meanwhile: nobody would tell the study again.
        """
        with self.sessions.begin() as session:
            lock_patient(session, study.of_patient.id)
            now = read_study(session, [one.photograph.sop_instance_uid for one in study.told], setup)
            if now.newest != study.newest or now.patient != study.patient:
                return False
            if now.shown != study.shown and not as_read:
                return False
            for one in new:
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
        return True

    def _comparisons(self, study: ToldStudy, files: Unrecorded, created: datetime) -> dict[int, _New]:
        """Return scoring key -> comparison, for each score that has none which shows all there is."""
        course = study.course
        if course is None or not self.options.sends(ResultObject.COMPARISON):
            return {}
        made = {}
        for one in study.told:
            path = one.scoring.pictures_path
            if not isinstance(one.result, Score) or path is None or study.comparison_of(one):
                continue
            panels = read_panels(self.store, path)
            if panels is None:
                continue
            # What draws is imported where it is wanted: no node shall wait for it at its start.
            from reports.comparison_image import build_comparison_image

            image = build_comparison_image(
                self._header(study, one.photograph),
                panels,
                one.result,
                course.encounter,
                course.history,
                created,
                reference(one.last_comparison),
            )
            finished = files.keep(COMPARISON, image)
            made[one.scoring.id] = _New(finished, [one.scoring], study.shown_of_course, one.last_comparison)
        return made

    def _of_the_encounter(
        self, study: ToldStudy, files: Unrecorded, made: dict[int, _New], created: datetime
    ) -> dict[str, _New]:
        """Return kind -> the trend, where there are two encounters or more, and the patient's page."""
        course, options = study.course, self.options
        scored = [one for one in study.told if isinstance(one.result, Score)]
        if course is None or not scored:
            return {}
        headers = [self._header(study, one.photograph) for one in scored]
        scorings = [one.scoring for one in scored]
        whole, pixels = {}, None
        if len(course.shown) > 1 and (options.sends(ResultObject.TREND) or options.sends(ResultObject.PDF)):
            from reports.trend_image import build_trend_image

            before = study.latest.get(TREND)
            trend = build_trend_image(headers, course, created, reference(before))
            pixels = trend.pixel_array
            if options.sends(ResultObject.TREND):
                finished = files.keep(TREND, trend)
                whole[TREND] = _New(finished, scorings, study.shown_of_course, before)
        if options.sends(ResultObject.PDF):
            from reports.patient_page import PatientPage
            from reports.patient_pdf import build_patient_pdf

            before = study.latest.get(PATIENT_PDF)
            newest = self._newest_comparison(study, made)
            page = PatientPage(course, pixels, newest[1] if newest else None)
            shown = [one for one in (reference(w.finished) for w in whole.values()) if one is not None]
            shown += [newest[0]] if newest else []
            document = build_patient_pdf(headers[0], page, created, shown, reference(before))
            finished = files.keep(PATIENT_PDF, document)
            whole[PATIENT_PDF] = _New(finished, scorings, study.shown_of_course, before)
        return whole

    def _newest_comparison(
        self, study: ToldStudy, made: dict[int, _New]
    ) -> tuple[ObjectReference, NDArray[np.uint8]] | None:
        """Return the comparison of the newest photograph that has one, and its pixels.

        One that retention has taken away, or that is lost, cannot be drawn.
        """
        for one in reversed(study.told):
            new, old = made.get(one.scoring.id), study.comparison_of(one)
            found = new.finished if new else old if old and old.purged_at is None else None
            where = reference(found)
            if found is not None and where is not None:
                pixels = read_image(self.store, found.path)
                if pixels is not None:
                    return where, pixels
        return None

    def _structured_report(
        self,
        study: ToldStudy,
        files: Unrecorded,
        made: dict[int, _New],
        trend: _New | None,
        created: datetime,
    ) -> _New:
        photographs = [self._reported(study, one, made.get(one.scoring.id)) for one in study.told]
        report = build_structured_report(
            photographs,
            _predecessor(study.encounter, study.predecessor),
            created,
            course=study.course,
            further=[where for where in [reference(trend.finished if trend else None)] if where is not None],
            sop_class_uid=self.options.report_sop_class,
        )
        scorings = [one.scoring for one in study.told]
        return _New(files.keep(STRUCTURED_REPORT, report), scorings, study.shown, study.predecessor)

    def _reported(self, study: ToldStudy, one: ToldPhotograph, comparison: _New | None) -> ReportedPhotograph:
        others = [
            reference(one.made.get(NORMALIZED_IN_PLACE)),
            reference(comparison.finished if comparison else study.comparison_of(one)),
        ]
        return ReportedPhotograph(
            source=self._header(study, one.photograph),
            result=one.result,
            normalized=reference(one.made.get(NORMALIZED_PHOTOGRAPH)),
            scoring_id=one.scoring_id,
            further=tuple(other for other in others if other is not None),
        )

    def _header(self, study: ToldStudy, photograph: Photograph) -> FileDataset:
        others = (self.store.absolute(path) for path in study.files_of_patient)
        return read_header(self.store.absolute(photograph.path), study.of_patient, others)


def _predecessor(encounter: Encounter, report: Artefact | None) -> PredecessorReport | None:
    found = reference(report)
    return PredecessorReport(encounter.study_instance_uid, found) if found else None
