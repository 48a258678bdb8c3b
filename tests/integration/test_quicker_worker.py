"""Another worker does the same meanwhile: who commits first has done it, and nothing of the other stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from dicom_node import normalized_objects
from dicom_node.study_steps import StudySteps
from pipeline.result import FaceImages, Provenance, Rejection, Scored
from reports.options import ReportOptions, ResultObject
from storage.artefacts import NORMALIZED_PHOTOGRAPH, STRUCTURED_REPORT
from storage.consistency import inspect_rows, inspect_store
from storage.patients import find_patient, reopen
from storage.tables import AuditEvent, Photograph, Scoring
from tests.overtaking import Once, OvertakenStore
from tests.small_archive import SmallArchive, photograph
from tests.small_scorer import SmallScorer, executions

_NORMALIZED_ONLY = ReportOptions(objects=frozenset({ResultObject.NORMALIZED}))
UIDS = [str(photograph(1, number).SOPInstanceUID) for number in (1, 2)]


@dataclass(frozen=True)
class _Overtaken:
    """A scorer that draws other pictures than the small one, and is overtaken while it does."""

    inner: SmallScorer
    overtake: Callable[[], None]

    @property
    def provenance(self) -> Provenance:
        return self.inner.provenance

    @property
    def most_at_once(self) -> int:
        return self.inner.most_at_once

    def score_files(self, paths: Sequence[Path]) -> list[Scored | Rejection]:
        (result,) = self.inner.score_files(paths)
        assert isinstance(result, Scored)
        other = FaceImages(*[result.images.normalized + np.uint8(9)] * 5, result.images.in_place)
        self.overtake()
        return [Scored(result.score, other)]

    def blend_file(self, path: Path, normalized: np.ndarray) -> np.ndarray:
        return self.inner.blend_file(path, normalized)


@pytest.fixture
def archive(tmp_path: Path, database_url: str) -> Iterator[SmallArchive]:
    archive = SmallArchive(tmp_path, options=_NORMALIZED_ONLY, database_url=database_url)
    for number in (1, 2):
        archive.receive(photograph(1, number, brightness=60 * number))
    yield archive
    archive.engine.dispose()


def _agrees(archive: SmallArchive) -> bool:
    found = inspect_store(archive.sessions, archive.store)
    with archive.sessions() as session:
        found += inspect_rows(session)
        kept = session.scalars(select(Scoring.pictures_path)).all()
    assert sorted(archive.store.files("pictures")) == sorted(path for path in kept if path)
    return not found


def test_a_score_that_another_committed_first_is_taken_over(archive: SmallArchive) -> None:
    other = archive.steps
    overtake = Once(lambda: other.score_photograph(UIDS[0]))
    slow = replace(other, scorer=_Overtaken(SmallScorer(archive.folder / "scorer.log"), overtake))
    slow.score_photograph(UIDS[0])
    with archive.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Scoring)) == 1
        scored = session.scalars(select(AuditEvent).where(AuditEvent.event == "scored")).all()
    assert len(scored) == 1
    assert len(executions(archive.folder / "scorer.log", "begin")) == 2
    assert len(archive.rows(NORMALIZED_PHOTOGRAPH)) == 1
    assert _agrees(archive)


def test_objects_that_another_recorded_first_are_not_recorded_again(archive: SmallArchive) -> None:
    other = archive.steps
    overtake = Once(lambda: other.score_photograph(UIDS[0]))
    slow = replace(other, store=OvertakenStore(archive.store.folder, NORMALIZED_PHOTOGRAPH, overtake))
    slow.score_photograph(UIDS[0])
    assert len(archive.rows(NORMALIZED_PHOTOGRAPH)) == 1
    assert _agrees(archive)


@pytest.mark.parametrize("read", ["latest_of_photograph", "object_of_scoring"])
def test_objects_that_another_recorded_while_ours_asks_for_them_are_not_taken_for_predecessors(
    tmp_path: Path, postgresql, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    # SQLite lets nobody else write meanwhile.
    archive = SmallArchive(tmp_path, options=_NORMALIZED_ONLY, database_url=postgresql.database())
    archive.receive(photograph(1))
    overtake = Once(lambda: archive.steps.score_photograph(UIDS[0]))
    ask: Callable[..., object] = getattr(normalized_objects, read)

    def ask_late(*arguments: object) -> object:
        overtake()
        return ask(*arguments)

    monkeypatch.setattr(normalized_objects, read, ask_late)
    archive.steps.score_photograph(UIDS[0])
    assert overtake.called
    assert len(archive.rows(NORMALIZED_PHOTOGRAPH)) == 1
    assert _agrees(archive)
    archive.engine.dispose()


def _overtaken_reporter(archive: SmallArchive, overtake: Callable[[], None]) -> StudySteps:
    """Return steps that are overtaken between what a report is made from and its record."""

    def clock() -> datetime:
        overtake()
        return archive.now

    return replace(archive.steps, reporter=replace(archive.steps.reporter, clock=clock))


def test_a_report_that_another_recorded_first_is_not_recorded_again(archive: SmallArchive) -> None:
    for uid in UIDS:
        archive.steps.score_photograph(uid)
    _overtaken_reporter(archive, Once(lambda: archive.steps.report_study(UIDS))).report_study(UIDS)
    assert len(archive.rows(STRUCTURED_REPORT)) == 1
    assert _agrees(archive)


def test_a_report_of_less_is_not_recorded_above_one_of_more(archive: SmallArchive) -> None:
    for uid in UIDS:
        archive.steps.score_photograph(uid)
    overtake = Once(lambda: archive.steps.report_study(UIDS))
    _overtaken_reporter(archive, overtake).report_study(UIDS[:1])
    assert [len(report.scoring_pks) for report in archive.rows(STRUCTURED_REPORT)] == [2]
    assert _agrees(archive)


def test_a_report_over_fewer_photographs_that_comes_late_is_succeeded_by_one_over_all(
    archive: SmallArchive,
) -> None:
    for uid in UIDS:
        archive.steps.score_photograph(uid)  # by two workers, each for a workflow of its own
    archive.steps.report_study(UIDS[:1])
    archive.steps.report_study(UIDS)
    reports = archive.rows(STRUCTURED_REPORT)
    assert [len(report.scoring_pks) for report in reports] == [1, 2]
    assert reports[1].predecessor_pk == reports[0].id
    with archive.sessions() as session:
        assert set(session.scalars(select(Photograph.report_pk))) == {reports[1].id}
    assert _agrees(archive)


def test_pictures_that_an_earlier_scoring_keeps_are_not_dropped_with_a_slower_workers(
    archive: SmallArchive,
) -> None:
    archive.steps.score_photograph(UIDS[0])
    archive.seed = 1  # of which the small scorer draws the same pictures

    def draw_others() -> None:
        quick = _Overtaken(SmallScorer(archive.folder / "scorer.log", seed=1), lambda: None)
        replace(archive.steps, scorer=quick).score_photograph(UIDS[0])

    overtake = Once(draw_others)
    slow = OvertakenStore(archive.store.folder, "pictures", overtake)
    replace(archive.steps, store=slow).score_photograph(UIDS[0])
    assert overtake.called
    assert _agrees(archive)


def test_a_study_that_was_asked_for_anew_is_reported_also_where_an_older_setup_reports_it_first(
    archive: SmallArchive,
) -> None:
    old = archive.steps
    for uid in UIDS:
        old.score_photograph(uid)
    with archive.sessions.begin() as session:
        reopen(session, find_patient(session, "TEST-1"))
    archive.seed = 1
    for uid in UIDS:
        archive.steps.score_photograph(uid)
    old.report_study(UIDS)  # had been in the queue before
    archive.steps.report_study(UIDS, 1)
    for _ in range(2):  # neither what is resumed nor what comes late says more
        archive.steps.report_study(UIDS, 1)
        old.report_study(UIDS)
    told = [set(report.scoring_pks) for report in archive.rows(STRUCTURED_REPORT)]
    with archive.sessions() as session:
        scorings = session.scalars(select(Scoring)).all()
    setups = [old.scorer.provenance.digest(), archive.steps.scorer.provenance.digest()]
    assert told == [{one.id for one in scorings if one.setup_digest == setup} for setup in setups]
