"""The steps of a study's workflow: score one photograph, report on all of them.

Each step first looks at what is kept already, writes its files before its rows, and commits all its
rows at once. So it can be killed anywhere and run again: it either finds everything done or starts over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Protocol

import structlog
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.filewriter import dcmwrite
from sqlalchemy.orm import Session, sessionmaker

from pipeline.result import Provenance, Rejection, Scored
from reports.normalized_photograph import build_normalized_photograph
from reports.reported_photograph import ObjectReference, PredecessorReport, ReportedPhotograph
from reports.structured_report import build_structured_report
from storage.artefacts import (
    NORMALIZED_PHOTOGRAPH,
    STRUCTURED_REPORT,
    FinishedObject,
    add_artefact,
    cover_photographs,
    latest_report,
    normalized_photograph_of,
)
from storage.audit import Event, audit_photograph
from storage.instances import InstanceStore
from storage.scorings import add_scoring, find_scoring, result_of
from storage.studies import photographs_of
from storage.tables import Artefact, Encounter, Photograph, Scoring

_log = structlog.get_logger(__name__)


class Scorer(Protocol):
    """Photograph in, score or rejection out."""

    @property
    def provenance(self) -> Provenance:
        """What decides a score besides the pixels; the same for every photograph."""
        ...

    def score_file(self, path: Path, /) -> Scored | Rejection:
        """Score a DICOM file; a photograph that cannot be scored is a `Rejection`, never an exception."""
        ...


class MissingScoringError(RuntimeError):
    """A report was to be written before every photograph had its scoring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySteps:
    """Both steps with all that they work on.

    destinations: AE titles; every finished object gets a delivery to each. observe: told the seconds
    of every stage of a new scoring.
    """

    sessions: sessionmaker[Session]
    store: InstanceStore
    scorer: Scorer
    destinations: tuple[str, ...]
    clock: Callable[[], datetime]
    observe: Callable[[Mapping[str, float]], None]

    def score_photograph(self, sop_instance_uid: str) -> None:
        """Score the photograph and keep its normalized image, unless it was scored under this setup."""
        setup = self.scorer.provenance.digest()
        with self.sessions() as session:
            (photograph,) = photographs_of(session, [sop_instance_uid])
            if find_scoring(session, photograph, setup) is not None:
                return
        result = self.scorer.score_file(self.store.absolute(photograph.path))
        created = self.clock()
        finished = self._normalized(photograph, result, created) if isinstance(result, Scored) else None
        outcome = result.score if isinstance(result, Scored) else result
        with self.sessions.begin() as session:
            scoring = add_scoring(
                session,
                photograph,
                provenance=self.scorer.provenance,
                result=outcome,
                created_at=created,
            )
            audit_photograph(session, Event.SCORED, photograph, at=created, outcome=scoring.status)
            if finished is not None:
                add_artefact(
                    session,
                    finished,
                    encounter_pk=photograph.encounter_pk,
                    scorings=[scoring],
                    destinations=self.destinations,
                    created_at=created,
                )
        self.observe(outcome.seconds)
        _log.info("photograph done", sop_instance_uid=sop_instance_uid, status=scoring.status)

    def report_study(self, sop_instance_uids: Sequence[str]) -> None:
        """Write one report over these photographs of a study, which succeeds the study's newest one.

        Does nothing where every photograph is covered by a report: this step was killed after its
        commit, or a workflow over more photographs came first.
        """
        setup = self.scorer.provenance.digest()
        with self.sessions() as session:
            photographs = photographs_of(session, list(sop_instance_uids))
            if all(photograph.report_pk is not None for photograph in photographs):
                return
            encounter_pk = photographs[0].encounter_pk
            encounter = session.get_one(Encounter, encounter_pk)
            predecessor = latest_report(session, encounter_pk)
            scorings = [_scoring_of(session, photograph, setup) for photograph in photographs]
            normalized = [normalized_photograph_of(session, encounter_pk, scoring) for scoring in scorings]
        created = self.clock()
        report = build_structured_report(
            [
                self._reported(photograph, scoring, image)
                for photograph, scoring, image in zip(photographs, scorings, normalized, strict=True)
            ],
            _predecessor(encounter, predecessor),
            created,
        )
        finished = self._keep(STRUCTURED_REPORT, report)
        with self.sessions.begin() as session:
            row = add_artefact(
                session,
                finished,
                encounter_pk=encounter_pk,
                scorings=scorings,
                predecessor=predecessor,
                destinations=self.destinations,
                created_at=created,
            )
            cover_photographs(session, row, photographs)
        _log.info("report done", sop_instance_uid=finished.sop_instance_uid, photographs=len(photographs))

    def _normalized(self, photograph: Photograph, result: Scored, created: datetime) -> FinishedObject:
        image = build_normalized_photograph(
            self._header(photograph), result.images.normalized, result.score, created
        )
        return self._keep(NORMALIZED_PHOTOGRAPH, image)

    def _reported(
        self, photograph: Photograph, scoring: Scoring, normalized: Artefact | None
    ) -> ReportedPhotograph:
        return ReportedPhotograph(
            source=self._header(photograph),
            result=result_of(scoring),
            normalized=_reference(normalized) if normalized else None,
            scoring_id=scoring.setup_digest,
        )

    def _header(self, photograph: Photograph) -> FileDataset:
        return dcmread(self.store.absolute(photograph.path), stop_before_pixels=True)

    def _keep(self, kind: str, finished: FileDataset) -> FinishedObject:
        """Write the object to the store; durable when this returns."""
        content = BytesIO()
        dcmwrite(content, finished, enforce_file_format=True)
        stored = self.store.write(kind, finished.SOPInstanceUID, content.getvalue())
        return FinishedObject(
            kind=kind,
            sop_instance_uid=str(finished.SOPInstanceUID),
            sop_class_uid=str(finished.SOPClassUID),
            series_instance_uid=str(finished.SeriesInstanceUID),
            sha256=stored.sha256,
            path=stored.path,
        )


def _scoring_of(session: Session, photograph: Photograph, setup: str) -> Scoring:
    scoring = find_scoring(session, photograph, setup)
    if scoring is None:
        raise MissingScoringError(f"{photograph.sop_instance_uid} has no scoring under the current setup")
    return scoring


def _reference(artefact: Artefact) -> ObjectReference:
    return ObjectReference(
        sop_class_uid=artefact.sop_class_uid,
        sop_instance_uid=artefact.sop_instance_uid,
        series_instance_uid=artefact.series_instance_uid,
    )


def _predecessor(encounter: Encounter, report: Artefact | None) -> PredecessorReport | None:
    if report is None:
        return None
    return PredecessorReport(study_instance_uid=encounter.study_instance_uid, report=_reference(report))
