"""The report: what it holds, what can be read back, and that it is the same object every time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from pipeline.result import QualityIssue, QualityWarning, RejectionReason
from reports.equipment import is_ours
from reports.reported_photograph import ObjectReference, PredecessorReport, ReportedCourse
from reports.reported_scores import read_scores
from reports.structured_report import build_structured_report
from tests.report_samples import (
    COLUMNS,
    CREATED,
    ROWS,
    STUDY_UID,
    course,
    encoded,
    objects_for,
    provenance,
    rejection,
    reported,
    score,
    secondary_capture,
)

PREDECESSOR = PredecessorReport(
    study_instance_uid=STUDY_UID,
    report=ObjectReference(Comprehensive3DSRStorage, f"{STUDY_UID}.9.1", f"{STUDY_UID}.9"),
)


def mixed():
    return [(secondary_capture(1), score()), (secondary_capture(2), rejection())]


def texts(report: Dataset) -> str:
    return "\n".join(str(element.value) for element in report.iterall() if element.keyword == "TextValue")


def test_warnings_stand_beside_the_score_as_text() -> None:
    warned = score(warnings=(QualityWarning(QualityIssue.BLURRED, "The face is not quite sharp."),))
    report, _ = objects_for([(secondary_capture(1), warned)])
    assert "Warning: The face is not quite sharp." in texts(report)
    plain, _ = objects_for([(secondary_capture(1), score())])
    assert "Warning" not in texts(plain)


def test_a_study_without_a_date_is_said_to_be_compared_with_none() -> None:
    undated = replace(course().encounter, study_date="")
    told = ReportedCourse(undated, (*course().history[:3], undated))
    report = build_structured_report([reported(secondary_capture(), score())], None, CREATED, course=told)
    said = "The study has no date that can be used: it is not compared, and the trend leaves it out."
    assert said in texts(report)
    assert "No earlier" not in texts(report)


def test_scores_and_reasons_are_read_back() -> None:
    report, _ = objects_for(mixed())
    first, second = read_scores(report)
    assert first.source_sop_instance_uid == f"{STUDY_UID}.1.1"
    assert (first.score, first.uncertainty, first.reason) == (4.82, 0.51, None)
    assert first.features == {
        "d_xperc": 0.0712346,
        "d_xstr": 0.21,
        "d_xpsnr": 21.3,
        "d_wbc": 0.4,
        "d_wcorr": 0.5,
        "l_p99": 0.2,
        "l_contrast": 0.11,
        "l_asymmetry": 0.03,
        "c_p99": 0.12,
        "c_asymmetry": 0.02,
    }
    assert first.outline == score().outline
    assert second.source_sop_instance_uid == f"{STUDY_UID}.1.2"
    assert (second.score, second.uncertainty, second.reason) == (None, None, RejectionReason.NO_FACE)
    assert second.features == {}
    assert second.outline == ((0, 0), (COLUMNS, 0), (COLUMNS, ROWS), (0, ROWS), (0, 0))


@pytest.mark.parametrize("reason", RejectionReason)
def test_a_study_of_rejections_gets_its_report(reason: RejectionReason) -> None:
    report, images = objects_for([(secondary_capture(), rejection(reason))])
    assert images == []
    assert [entry.reason for entry in read_scores(report)] == [reason]
    assert rejection().detail in texts(report)


def test_without_a_size_the_outline_is_the_first_pixel() -> None:
    source = secondary_capture(Rows=None, Columns=None)
    report, _ = objects_for([(source, rejection(RejectionReason.UNREADABLE_PIXELS, provenance=None))])
    assert read_scores(report)[0].outline == ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_damaged_header_still_gets_its_report() -> None:
    content = encoded(secondary_capture(PatientWeight="70", PatientSize="2"))
    for found, damage in (
        (b"\x10\x00\x30\x10DS\x02\x0070", b"\x10\x00\x30\x10DS\x02\x00xx"),  # Patient's Weight
        (b"\x20\x00\x13\x00IS\x02\x001 ", b"\x20\x00\x13\x00IS\x02\x00y "),  # Instance Number
    ):
        assert content.count(found) == 1
        content = content.replace(found, damage)
    source = pydicom.dcmread(BytesIO(content))
    report, images = objects_for([(source, score())])
    assert "PatientWeight" not in report
    assert report.PatientSize == 2
    assert images[0].InstanceNumber == 1
    assert report.PatientID == "TEST-1"


def test_the_results_own_size_goes_before_the_headers() -> None:
    report, _ = objects_for([(secondary_capture(), rejection(rows=10, columns=20))])
    assert read_scores(report)[0].outline[2] == (20, 10)


def test_an_outline_stays_closed_and_inside_the_image() -> None:
    outline = ((-20.0, -5.0), (-9.0, -5.0), (500.0, 20.0), (200.0, 900.0), (-20.0, -5.0))
    report, _ = objects_for([(secondary_capture(), score(outline=outline))])
    assert read_scores(report)[0].outline == ((0, 0), (COLUMNS, 20), (200, ROWS), (0, 0))


def test_an_outline_outside_the_image_becomes_the_frame() -> None:
    outline = ((-9.0, -9.0), (-5.0, -9.0), (-5.0, -5.0), (-9.0, -9.0))
    report, _ = objects_for([(secondary_capture(), score(outline=outline))])
    assert read_scores(report)[0].outline[2] == (COLUMNS, ROWS)


def test_it_is_complete_unverified_and_ours() -> None:
    report, _ = objects_for(mixed())
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert report.SOPClassUID == Comprehensive3DSRStorage
    assert report.Modality == "SR"
    assert is_ours(report)
    assert "PredecessorDocumentsSequence" not in report


def test_evidence_names_photographs_and_normalized_images() -> None:
    report, images = objects_for(mixed())
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    named = {
        (series.SeriesInstanceUID, instance.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    sources = {(f"{STUDY_UID}.1", f"{STUDY_UID}.1.{number}") for number in (1, 2)}
    assert named == sources | {(images[0].SeriesInstanceUID, images[0].SOPInstanceUID)}
    assert study.StudyInstanceUID == STUDY_UID


def test_the_algorithm_is_told_in_full() -> None:
    report, _ = objects_for(mixed())
    found = texts(report)
    for expected in (
        "mobilestylegan",
        "a" * 64,
        "b" * 64,
        "profile = fast",
        "seed = 7",
        "steps = 25",
        "lambda_avg = 1.0",
    ):
        assert expected in found


def test_the_average_that_a_face_was_pulled_to_is_told_where_there_are_several() -> None:
    several, _ = objects_for([(secondary_capture(), score(nearest_average=3))])
    assert "nearest average = 3" in texts(several)
    one, _ = objects_for(mixed())
    assert "nearest average" not in texts(one)


@pytest.mark.parametrize(("synthetic", "expected"), [(True, "Synthetic"), (False, "Site-calibrated")])
def test_notice_and_nature_of_the_regressor_are_in_the_text(synthetic: bool, expected: str) -> None:
    setup = provenance(regressor_is_synthetic=synthetic)
    report, _ = objects_for([(secondary_capture(), score(provenance=setup))])
    assert f"{expected} regressor" in texts(report)
    assert "For research use only. Not a medical device." in texts(report)


def test_the_predecessor_is_named_and_changes_the_uids() -> None:
    alone, _ = objects_for(mixed())
    successor, _ = objects_for(mixed(), PREDECESSOR)
    (study,) = successor.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == (STUDY_UID, f"{STUDY_UID}.9")
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == f"{STUDY_UID}.9.1"
    assert successor.SOPInstanceUID != alone.SOPInstanceUID
    assert successor.SeriesInstanceUID != alone.SeriesInstanceUID


def test_a_face_keeps_its_tracking_uid_in_the_successor() -> None:
    alone, _ = objects_for(mixed()[:1])
    successor, _ = objects_for(mixed(), PREDECESSOR)
    assert read_scores(alone)[0].tracking_uid == read_scores(successor)[0].tracking_uid
    assert len({entry.tracking_uid for entry in read_scores(successor)}) == 2


def test_a_face_keeps_its_tracking_uid_when_reports_change(monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = objects_for(mixed())
    monkeypatch.setattr("reports.uids.SCHEMA_VERSION", 1000)
    after, _ = objects_for(mixed())
    assert before.SOPInstanceUID != after.SOPInstanceUID
    first, second = ([entry.tracking_uid for entry in read_scores(report)] for report in (before, after))
    assert first == second


def test_equal_input_in_any_order_gives_equal_bytes() -> None:
    forward, _ = objects_for(mixed(), PREDECESSOR)
    backward, _ = objects_for(mixed()[::-1], PREDECESSOR)
    assert encoded(forward) == encoded(backward)


def test_another_moment_changes_the_bytes_but_not_the_uid() -> None:
    first, _ = objects_for(mixed())
    later, _ = objects_for(mixed(), created=CREATED + timedelta(seconds=1))
    assert first.SOPInstanceUID == later.SOPInstanceUID
    assert encoded(first) != encoded(later)


def test_another_model_or_another_photograph_gives_other_uids() -> None:
    reports = [
        objects_for(photographs)[0]
        for photographs in (
            mixed(),
            mixed()[:1],
            [(secondary_capture(1), score(provenance=provenance(generator_sha256="c" * 64)))],
            [(secondary_capture(1), score(provenance=provenance(regressor_sha256="c" * 64)))],
        )
    ]
    assert len({report.SOPInstanceUID for report in reports}) == len(reports)
    assert len({report.SeriesInstanceUID for report in reports}) == len(reports)


def test_nothing_to_report_and_mixed_up_photographs_are_refused() -> None:
    def build(*sources: Dataset):
        return build_structured_report([reported(one, rejection()) for one in sources], None, CREATED)

    first = secondary_capture(1)
    with pytest.raises(ValueError, match="at least one"):
        build()
    with pytest.raises(ValueError, match="twice"):
        build(first, first)
    with pytest.raises(ValueError, match="several studies"):
        build(first, secondary_capture(2, StudyInstanceUID="1.2.3"))
    with pytest.raises(ValueError, match="several patients") as caught:
        build(first, secondary_capture(2, IssuerOfPatientID="OTHER SITE"))
    assert "TEST-1" not in str(caught.value)


def test_padding_of_an_identifier_makes_no_other_patient() -> None:
    padded = secondary_capture(2)
    padded.PatientID = f" {padded.PatientID} "
    report = build_structured_report(
        [reported(one, rejection()) for one in (secondary_capture(1), padded)], None, CREATED
    )
    assert len(read_scores(report)) == 2
