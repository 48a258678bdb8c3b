"""A patient's course: what is made when something comes, what is not made twice, what succeeds what."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pydicom
import pytest
from sqlalchemy import update

from reports.options import ReportOptions, ResultObject
from reports.reported_scores import read_scores
from storage.artefacts import (
    COMPARISON,
    NORMALIZED_IN_PLACE,
    NORMALIZED_PHOTOGRAPH,
    PATIENT_PDF,
    STRUCTURED_REPORT,
    TREND,
)
from storage.consistency import inspect_store
from storage.deliveries import DELIVERED
from storage.file_store import UnreachableError
from storage.instances import InstanceStore
from storage.intake import Outcome
from storage.recent_studies import recent_studies
from storage.retention import purge_photographs, purge_results
from storage.tables import Delivery, Photograph
from tests.course import archive, kinds, measured, on_both, predecessor_of, run
from tests.small_archive import SmallArchive, photograph
from tests.small_scorer import executions

__all__ = ["archive"]


def test_the_second_encounter_tells_the_change_and_draws_the_trend(archive: SmallArchive) -> None:
    archive.receive(photograph(1, brightness=100))
    archive.settle()
    assert TREND not in kinds(archive)
    archive.receive(photograph(2, brightness=200))
    archive.settle()
    first, second = archive.objects(STRUCTURED_REPORT)
    assert measured(first, "SCORE_PREV") == []
    before, now = 1 + 6 * 100 / 255, 1 + 6 * 200 / 255
    assert measured(second, "SCORE_PREV") == [pytest.approx(before, abs=0.005)]
    assert measured(second, "CHANGE") == [pytest.approx(now - before, abs=0.005)]
    assert measured(second, "CHANGE_NOISE") == [pytest.approx(1.96 * 2**0.5 * 0.5, abs=0.005)]
    assert kinds(archive) == {
        **dict.fromkeys((NORMALIZED_PHOTOGRAPH, NORMALIZED_IN_PLACE, COMPARISON), 2),
        **dict.fromkeys((STRUCTURED_REPORT, PATIENT_PDF), 2),
        TREND: 1,
    }


def test_a_study_before_1900_is_reported_and_ends_no_later_report(archive: SmallArchive) -> None:
    for study, date in ((1, "00010101"), (2, "20250101"), (3, "20250201")):
        archive.receive(photograph(study, brightness=60 * study, StudyDate=date))
        archive.settle()
    undated, first, second = archive.objects(STRUCTURED_REPORT)
    assert [len(measured(one, "SCORE_PREV")) for one in (undated, first, second)] == [0, 0, 1]
    assert kinds(archive)[TREND] == 1
    picture = archive.folder / "scores.png"
    run(archive, "history", "TEST-1", "--issuer", "TEST SITE", "--plot", str(picture))
    assert picture.exists()


@pytest.mark.parametrize("dates", [("20250201", ""), ("", "20250201")])
def test_a_date_that_one_photograph_of_a_study_lacks_is_that_of_another(
    archive: SmallArchive, dates: tuple[str, str]
) -> None:
    archive.receive(photograph(1, StudyDate="20250101"))
    archive.settle()
    for number, date in enumerate(dates, 1):
        archive.receive(photograph(2, number, StudyDate=date))
    archive.settle()
    assert len(measured(archive.objects(STRUCTURED_REPORT)[-1], "SCORE_PREV")) == 2
    told = json.loads(run(archive, "history", "TEST-1", "--json").stdout)
    assert [one["study_date"] for one in told] == ["20250101", "20250201", "20250201"]


def test_what_is_sent_again_makes_nothing_new(archive: SmallArchive) -> None:
    for _ in range(2):
        for study in (1, 2):
            outcome = archive.receive(photograph(study))
        archive.settle()
        made = kinds(archive)
    assert outcome is Outcome.ALREADY_STORED
    assert sum(made.values()) == 11
    assert len(executions(archive.folder / "scorer.log", "begin")) == 2


def test_a_step_that_is_run_again_makes_nothing_new(archive: SmallArchive) -> None:
    archive.receive(photograph(1))
    archive.settle()
    before = [row.sop_instance_uid for row in archive.rows()]
    uid = str(photograph(1).SOPInstanceUID)
    archive.steps.score_photograph(uid)
    archive.steps.report_study([uid])
    archive.steps.reporter.report([uid], archive.steps.scorer.provenance.digest())
    assert [row.sop_instance_uid for row in archive.rows()] == before


@on_both
def test_a_prior_that_comes_late_makes_successors_of_the_next_and_the_newest_report(
    archive: SmallArchive,
) -> None:
    for study, brightness in ((2, 120), (3, 140), (4, 160)):
        archive.receive(photograph(study, brightness=brightness))
        archive.settle()
    archive.receive(photograph(1, brightness=80))
    archive.settle()
    dates = [str(report.StudyDate) for report in archive.objects(STRUCTURED_REPORT)]
    assert dates == ["20250210", "20250310", "20250410", "20250110", "20250210", "20250410"]
    reports = archive.objects(STRUCTURED_REPORT)
    assert predecessor_of(reports[4]) == reports[0].SOPInstanceUID
    assert measured(reports[4], "SCORE_PREV") == [pytest.approx(1 + 6 * 80 / 255, abs=0.005)]
    comparisons = archive.objects(COMPARISON)
    (succeeded,) = comparisons[-1].ReferencedInstanceSequence
    assert succeeded.ReferencedSOPInstanceUID == comparisons[2].SOPInstanceUID
    assert len({row.sop_instance_uid for row in archive.rows()}) == len(archive.rows())


@on_both
def test_a_prior_that_comes_late_makes_a_successor_of_the_next_report_that_has_a_score(
    archive: SmallArchive,
) -> None:
    for study, brightness in ((2, 0), (3, 140), (4, 160), (5, 0)):
        archive.receive(photograph(study, brightness=brightness))
        archive.settle()
    archive.receive(photograph(1, brightness=80))
    archive.settle()
    newer = archive.objects(STRUCTURED_REPORT)[4:]
    assert [str(report.StudyDate) for report in newer] == ["20250110", "20250310", "20250410"]
    assert measured(newer[1], "SCORE_PREV") == [pytest.approx(1 + 6 * 80 / 255, abs=0.005)]


@pytest.mark.parametrize(
    ("known", "coming"),
    [((), (5, 4, 3, 2, 1)), ((), (3, 1, 4, 2, 5)), ((3, 4), (2, 1)), ((2,), (1, 3))],
    ids=["from the last", "in any order", "two priors", "a prior and a newer one"],
)
def test_encounters_that_come_together_end_up_compared_each_with_the_one_before(
    archive: SmallArchive, known: tuple[int, ...], coming: tuple[int, ...]
) -> None:
    archive.options = ReportOptions(objects=frozenset())
    for study in known:
        archive.receive(photograph(study, brightness=40 * study))
        archive.settle()
    for study in coming:
        archive.receive(photograph(study, brightness=40 * study))
        archive.now += timedelta(seconds=1)
    archive.settle()
    newest = {str(report.StudyDate): report for report in archive.objects(STRUCTURED_REPORT)}
    previous = [measured(newest[date], "SCORE_PREV") for date in sorted(newest)]
    told = [[pytest.approx(1 + 6 * 40 * study / 255, abs=0.005)] for study in range(1, len(newest))]
    assert previous == [[], *told]
    assert max(Counter(str(one.StudyDate) for one in archive.objects(STRUCTURED_REPORT)).values()) <= 2


def test_a_date_that_is_no_day_stands_before_no_encounter(archive: SmallArchive) -> None:
    archive.options = ReportOptions(objects=frozenset())
    for study, date in ((3, "20250310"), (4, "20250410"), (2, "20250231"), (1, "20250205")):
        archive.receive(photograph(study, brightness=40 * study, StudyDate=date))
        archive.settle()
    (newest,) = [report for report in archive.objects()[4:] if str(report.StudyDate) == "20250310"]
    assert measured(newest, "SCORE_PREV") == [pytest.approx(1 + 6 * 40 / 255, abs=0.005)]


def test_rescore_brings_the_whole_history_to_the_current_model(archive: SmallArchive) -> None:
    for study in (1, 2, 3):
        archive.receive(photograph(study, brightness=60 * study))
        archive.settle()
    old = archive.objects(STRUCTURED_REPORT)
    archive.seed = 1
    assert archive.settle() == 0  # an upgrade alone scores nothing again
    run(archive, "rescore", "TEST-1", "--issuer", "TEST SITE")
    assert archive.settle() == 3
    new = archive.objects(STRUCTURED_REPORT)[3:]
    assert [predecessor_of(report) for report in new] == [report.SOPInstanceUID for report in old]
    assert [len(measured(report, "SCORE_PREV")) for report in new] == [0, 1, 1]
    normalized = archive.objects(NORMALIZED_PHOTOGRAPH)
    assert [str(i.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID) for i in normalized[3:]] == [
        str(i.SOPInstanceUID) for i in normalized[:3]
    ]
    assert archive.settle() == 0
    # Asked again with the same model: everything is there.
    made = len(archive.rows())
    run(archive, "rescore", "TEST-1")
    assert archive.settle() == 3
    assert len(archive.rows()) == made
    assert len(executions(archive.folder / "scorer.log", "begin")) == 6


def test_history_as_csv_and_as_a_picture(archive: SmallArchive, tmp_path: Path) -> None:
    for study in (1, 2):
        archive.receive(photograph(study, brightness=60 * study))
        archive.settle()
    rows = run(archive, "history", "TEST-1", "--csv").stdout.splitlines()
    assert rows[0].startswith("study_date,accession_number,study_instance_uid,sop_instance_uid,status,score")
    assert rows[0].endswith("d_wbc,d_wcorr,d_xperc,d_xpsnr,d_xstr")
    assert len(rows) == 3
    assert rows[1].startswith("20250110,TEST-ACC-1,")
    assert len(json.loads(run(archive, "history", "TEST-1", "--json").stdout)) == 2
    run(archive, "history", "TEST-1", "--plot", str(tmp_path / "plot.png"))
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    run(archive, "history", "TEST-1", "--csv", "--json", status=2)
    run(archive, "history", "TEST-1", "--plot", str(tmp_path / "none" / "plot.png"), status=1)


def test_two_encounters_of_a_day_stand_in_history_as_they_were(archive: SmallArchive) -> None:
    for study, time in ((2, "160000"), (1, "080000")):  # the later one comes first
        archive.receive(photograph(study, StudyDate="20250110", StudyTime=time))
        archive.settle()
    told = json.loads(run(archive, "history", "TEST-1", "--json").stdout)
    assert [one["study_instance_uid"][-3:] for one in told] == ["501", "502"]


@pytest.mark.parametrize("number", ["[/b]1", "[b]1", ":sun:"])
def test_history_prints_an_accession_number_as_it_came(archive: SmallArchive, number: str) -> None:
    archive.receive(photograph(1, AccessionNumber=number))
    assert number in run(archive, "history", "TEST-1").stdout


def test_history_tells_scores_of_other_settings_apart(
    archive: SmallArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for study in (1, 2):
        archive.seed = study
        archive.receive(photograph(study))
        archive.settle()
    told = json.loads(run(archive, "history", "TEST-1", "--json").stdout)
    assert len({one["setup_digest"] for one in told}) == 2
    table = run(archive, "history", "TEST-1").stdout
    assert all(one["setup_digest"][:8] in table for one in told)


def test_every_report_can_be_read_back(archive: SmallArchive) -> None:
    archive.receive(photograph(1))
    archive.receive(photograph(1, 2, brightness=0))
    archive.settle()
    (report,) = archive.objects(STRUCTURED_REPORT)
    assert [one.reason is None for one in read_scores(report)] == [True, False]


def test_every_file_has_its_row_and_lost_pictures_cost_the_comparison_alone(archive: SmallArchive) -> None:
    archive.receive(photograph(1))
    archive.settle()
    assert inspect_store(archive.sessions, archive.store) == []
    for path in (archive.folder / "data" / "pictures").rglob("*.dcm"):
        path.unlink()
    archive.receive(photograph(1, 2))
    archive.settle()
    assert kinds(archive)[STRUCTURED_REPORT] == 2
    assert kinds(archive)[COMPARISON] == 2  # the first one's is not made anew


@pytest.mark.parametrize("content", [None, b"damaged"], ids=["lost", "damaged"])
def test_a_comparison_whose_file_is_lost_is_on_no_page_and_costs_no_report(
    archive: SmallArchive, content: bytes | None
) -> None:
    archive.receive(photograph(1))
    archive.settle()
    (row,) = archive.rows(COMPARISON)
    file = archive.store.absolute(row.path)
    file.write_bytes(content) if content else file.unlink()
    archive.receive(photograph(1, 2, brightness=0))  # rejected, so that the comparison stays the newest
    archive.settle()
    assert len(archive.rows(STRUCTURED_REPORT)) == 2
    assert "SourceInstanceSequence" not in archive.objects(PATIENT_PDF)[-1]


def test_a_comparison_is_made_once_the_bucket_that_has_its_pictures_is_back(archive: SmallArchive) -> None:
    class Away(InstanceStore):
        def read(self, path: str) -> bytes:
            raise UnreachableError

    archive.options = ReportOptions(objects=frozenset({ResultObject.COMPARISON}))
    archive.receive(photograph(1))
    uid, steps = str(photograph(1).SOPInstanceUID), archive.steps
    steps.score_photograph(uid)
    away = replace(steps.reporter, store=Away(archive.store.folder))
    with pytest.raises(UnreachableError):
        replace(steps, reporter=away).report_study([uid])
    steps.report_study([uid])
    assert kinds(archive) == {COMPARISON: 1, STRUCTURED_REPORT: 1}


def test_a_comparison_of_another_model_is_on_no_page_and_in_no_report(archive: SmallArchive) -> None:
    archive.receive(photograph(1))
    archive.settle()
    (old,) = archive.objects(COMPARISON)
    (page,) = archive.objects(PATIENT_PDF)
    assert [one.ReferencedSOPInstanceUID for one in page.SourceInstanceSequence] == [old.SOPInstanceUID]
    archive.seed = 1
    archive.options = ReportOptions(objects=frozenset({ResultObject.PDF}))
    run(archive, "rescore", "TEST-1")
    archive.settle()
    assert "SourceInstanceSequence" not in archive.objects(PATIENT_PDF)[-1]
    assert str(old.SOPInstanceUID) not in str(archive.objects(STRUCTURED_REPORT)[-1])


def test_retention_takes_the_kept_pictures_too_and_later_encounters_still_tell_the_change(
    archive: SmallArchive,
) -> None:
    archive.receive(photograph(1, brightness=90))
    archive.settle()
    with archive.sessions.begin() as session:
        session.execute(update(Delivery).values(state=DELIVERED))
        later = archive.now + timedelta(days=1)
        purged = purge_photographs(session, archive.store.delete, before=later, now=later, limit=10)
        assert (purged, purge_results(session, archive.store.delete, before=later, now=later, limit=10)) == (
            1,
            5,
        )
    assert list((archive.folder / "data").rglob("*.dcm")) == []
    archive.receive(photograph(2, brightness=150))
    archive.settle()
    (_, report) = archive.rows(STRUCTURED_REPORT)
    read = pydicom.dcmread(archive.store.absolute(report.path))
    assert measured(read, "SCORE_PREV") == [pytest.approx(1 + 6 * 90 / 255, abs=0.005)]


@pytest.mark.parametrize("opened", ["rescored", "merged", "by an earlier version"])
def test_what_retention_took_away_waits_for_no_report_when_its_patient_is_opened_anew(
    archive: SmallArchive, opened: str
) -> None:
    patient = "TEST-NEW" if opened == "merged" else "TEST-1"
    archive.receive(photograph(1, brightness=90))
    archive.settle()
    with archive.sessions.begin() as session:
        session.execute(update(Delivery).values(state=DELIVERED))
        later = archive.now + timedelta(days=1)
        assert purge_photographs(session, archive.store.delete, before=later, now=later, limit=10) == 1
    if opened == "merged":
        archive.receive(photograph(4, PatientID=patient))
        archive.settle()
        run(archive, "patient", "merge", "TEST-1", patient)
        archive.settle()  # its study of April tells of the one that is purged
    elif opened == "rescored":
        assert "anew: 0." in run(archive, "rescore", patient).output
    with archive.sessions.begin() as session:
        studies = recent_studies(session, limit=10)
        assert [study.reported for study in studies] == [study.photographs for study in studies]
        if opened == "by an earlier version":
            session.execute(update(Photograph).values(report_pk=None))
    assert archive.settle() == 0  # nothing is left of it to score
    for study, brightness in ((3, 150), (2, 120)):
        archive.receive(photograph(study, brightness=brightness, PatientID=patient))
        archive.settle()
    reports = [pydicom.dcmread(archive.store.absolute(row.path)) for row in archive.rows(STRUCTURED_REPORT)]
    previous = [measured(one, "SCORE_PREV") for one in reports if str(one.StudyDate) == "20250310"]
    assert previous == [[pytest.approx(1 + 6 * before / 255, abs=0.005)] for before in (90, 120)]


class Killed(BaseException):
    pass


def kill(*_arguments: object, **_options: object) -> None:
    raise Killed


def test_what_was_killed_between_a_priors_report_and_the_next_one_refreshes_that_when_it_is_run_again(
    archive: SmallArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.options = ReportOptions(objects=frozenset())
    archive.receive(photograph(2))
    archive.settle()
    archive.receive(photograph(1, brightness=80))
    with monkeypatch.context() as patched:
        patched.setattr("dicom_node.study_report.later_covered_studies", kill)
        with pytest.raises(Killed):
            archive.settle()
    assert [str(report.StudyDate) for report in archive.objects()] == ["20250210", "20250110"]
    for _ in range(2):
        archive.steps.report_study([str(photograph(1).SOPInstanceUID)])
        assert [str(report.StudyDate) for report in archive.objects()][2:] == ["20250210"]
    assert measured(archive.objects()[2], "SCORE_PREV") == [pytest.approx(1 + 6 * 80 / 255, abs=0.005)]


def test_a_report_step_of_an_older_setup_that_comes_late_makes_nothing(archive: SmallArchive) -> None:
    archive.options = ReportOptions(objects=frozenset())
    for study in (1, 2):
        archive.receive(photograph(study))
    archive.settle()
    archive.seed = 1
    run(archive, "rescore", "TEST-1")
    archive.settle()
    made = len(archive.rows())
    archive.seed = 0
    archive.steps.report_study([str(photograph(1).SOPInstanceUID)])
    assert len(archive.rows()) == made


def test_what_was_killed_after_the_score_is_made_of_what_was_kept(
    archive: SmallArchive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    archive.receive(photograph(1))
    with monkeypatch.context() as patched:
        patched.setattr("dicom_node.normalized_objects.read_header", kill)
        with pytest.raises(Killed):
            archive.settle()
    assert archive.rows() == []
    archive.settle()
    made = {row.kind: row for row in archive.rows()}
    assert executions(tmp_path / "scorer.log", "end") == executions(tmp_path / "scorer.log", "blend")
    # The same objects, to the byte, as those of a node that nobody killed.
    calm = SmallArchive(tmp_path / "calm")
    calm.receive(photograph(1))
    calm.now = archive.now - timedelta(minutes=2)
    calm.settle()
    assert executions(calm.folder / "scorer.log", "blend") == []
    for row in calm.rows(NORMALIZED_PHOTOGRAPH) + calm.rows(NORMALIZED_IN_PLACE):
        assert made[row.kind].sop_instance_uid == row.sop_instance_uid
        assert made[row.kind].sha256 == row.sha256
