"""A study as the database has it, with all that its report has to tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from pipeline.encounter_score import EncounterScore, scoring_id
from pipeline.result import Rejection, Score
from reports.reported_photograph import ReportedCourse
from storage.artefacts import (
    COMPARISON,
    NORMALIZED_IN_PLACE,
    NORMALIZED_PHOTOGRAPH,
    PATIENT_PDF,
    TREND,
    latest_of_encounter,
    latest_of_photograph,
    latest_report,
    object_of_scoring,
)
from storage.encounter_scores import encounter_scores
from storage.scorings import find_scoring, result_of
from storage.studies import newest_files, photographs_of
from storage.tables import Artefact, Encounter, Patient, Photograph, Scoring


class MissingScoringError(RuntimeError):
    """A report was to be written before every photograph had its scoring."""


@dataclass(frozen=True, slots=True)
class ToldPhotograph:
    """A photograph with all that is kept about it. made: kind -> the object of this scoring."""

    photograph: Photograph
    scoring: Scoring
    result: Score | Rejection
    made: dict[str, Artefact]
    last_comparison: Artefact | None

    @property
    def scoring_id(self) -> str:
        """The scoring's name."""
        return scoring_id(self.photograph.sop_instance_uid, self.scoring.setup_digest)


@dataclass(frozen=True, slots=True)
class ToldStudy:
    """A study as the database has it now. course: None where no photograph has a score.

    predecessor, latest: the newest report, and kind -> the newest other object of the whole study.
    files_of_patient: photographs of the patient, newest first.
    """

    encounter: Encounter
    told: list[ToldPhotograph]
    course: ReportedCourse | None
    predecessor: Artefact | None
    latest: dict[str, Artefact]
    of_patient: Patient
    files_of_patient: list[str]

    @property
    def shown(self) -> list[str]:
        """The name of every scoring that its report shows."""
        earlier = self.course.scoring_ids if self.course else []
        return sorted({self.patient, *(one.scoring_id for one in self.told), *earlier})

    @property
    def shown_of_course(self) -> list[str]:
        """The same, of an object that shows the course and no single photograph."""
        return sorted({self.patient, *(self.course.scoring_ids if self.course else [])})

    def is_told_by(self, report: Artefact) -> bool:
        """Whether the report tells of these photographs, and shows all there is.

        It may have been written over fewer ones after the others had been scored; then it shows the scores
        of all in the course, and tells of its own.
        """
        return report.shown == self.shown and self.is_among(report)

    def is_among(self, report: Artefact) -> bool:
        """Whether the report tells of these scorings, perhaps beside others."""
        return {one.scoring.id for one in self.told} <= set(report.scoring_pks)

    def comparison_of(self, one: ToldPhotograph) -> Artefact | None:
        """Return the photograph's comparison that shows all there is; None where none does.

        One of another model or history has other scores drawn on it than the report tells.
        """
        last = one.last_comparison
        return last if last is not None and last.shown == self.shown_of_course else None

    @property
    def newest(self) -> tuple[int | None, ...]:
        """The keys of the objects that new ones would succeed."""
        rows = [self.predecessor, *(self.latest.get(kind) for kind in (TREND, PATIENT_PDF))]
        rows += [one.last_comparison for one in self.told]
        return tuple(row.id if row is not None else None for row in rows)

    @property
    def patient(self) -> str:
        """What tells whose study it was when the object was made: patients are merged."""
        return f"patient {self.encounter.patient_pk}"


def read_study(session: Session, sop_instance_uids: Sequence[str], setup: str) -> ToldStudy:
    """Return the study of these photographs, all of which are scored under `setup`.

    Raises MissingScoringError where one is not.
    """
    photographs = photographs_of(session, list(sop_instance_uids))
    encounter = session.get_one(Encounter, photographs[0].encounter_pk)
    told = [_told(session, photograph, setup) for photograph in photographs]
    history = tuple(encounter_scores(session, encounter.patient_pk, setup))
    latest = {kind: latest_of_encounter(session, encounter.id, kind) for kind in (TREND, PATIENT_PDF)}
    own = next((one for one in history if _is_of(one, encounter, setup)), None)
    return ToldStudy(
        encounter=encounter,
        told=told,
        course=ReportedCourse(own, history) if own else None,
        predecessor=latest_report(session, encounter.id),
        latest={kind: row for kind, row in latest.items() if row is not None},
        of_patient=session.get_one(Patient, encounter.patient_pk),
        files_of_patient=newest_files(session, encounter.patient_pk),
    )


def _is_of(score: EncounterScore, encounter: Encounter, setup: str) -> bool:
    return score.study_instance_uid == encounter.study_instance_uid and score.setup_digest == setup


def _told(session: Session, photograph: Photograph, setup: str) -> ToldPhotograph:
    scoring = find_scoring(session, photograph, setup)
    if scoring is None:
        raise MissingScoringError(f"{photograph.sop_instance_uid} has no scoring under the current setup")
    kinds = (NORMALIZED_PHOTOGRAPH, NORMALIZED_IN_PLACE)
    found = {kind: object_of_scoring(session, photograph.encounter_pk, scoring, kind) for kind in kinds}
    return ToldPhotograph(
        photograph,
        scoring,
        result_of(scoring),
        {kind: row for kind, row in found.items() if row is not None},
        latest_of_photograph(session, photograph, COMPARISON),
    )
