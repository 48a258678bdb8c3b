"""Every kind of object that leaves the node, in every class that a setting may choose; foreign tools."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import highdicom as hd
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import SecondaryCaptureImageStorage, VLPhotographicImageStorage

from reports.options import ImageClass, ReportClass, ReportOptions
from reports.patient_page import PatientPage
from reports.patient_pdf import build_patient_pdf
from reports.reported_photograph import ObjectReference
from reports.structured_report import build_structured_report
from reports.trend_image import build_trend_image
from tests.peers import OrthancPeer, run_tool
from tests.report_samples import (
    CREATED,
    course,
    encoded,
    images_of,
    rejection,
    reported,
    score,
    secondary_capture,
)

IODS = {
    "comprehensive3d": "Comprehensive3DSR",
    "comprehensive": "ComprehensiveSR",
    "enhanced": "EnhancedSR",
    "patient pdf": "EncapsulatedPDF",
    "normalized as vl": "VLPhotographicImage",
    "in place as vl": "VLPhotographicImage",
}
REPORTS = tuple(one.value for one in ReportClass)


def _reference(made: FileDataset) -> ObjectReference:
    return ObjectReference(str(made.SOPClassUID), str(made.SOPInstanceUID), str(made.SeriesInstanceUID))


@cache
def objects() -> dict[str, FileDataset]:
    """Return name -> object; every class shows the same scores."""
    source, told = secondary_capture(), course()
    made = dict(images_of(source, score()))
    by_class = images_of(source, score(), ReportOptions(image=ImageClass.VL_PHOTOGRAPHIC).image_sop_class)
    made |= {f"{name} as vl": by_class[name] for name in ("normalized", "in place")}
    made["trend"] = build_trend_image([source], told, CREATED, _reference(made["comparison"]))
    page = PatientPage(told, made["trend"].pixel_array, made["comparison"].pixel_array)
    shown = [_reference(made["comparison"])]
    made["patient pdf"] = build_patient_pdf(source, page, CREATED, shown, _reference(made["trend"]))
    first = replace(
        reported(source, score(), made["normalized"]),
        further=(_reference(made["in place"]), _reference(made["comparison"])),
    )
    entries = [first, reported(secondary_capture(2), rejection())]
    for sr in ReportClass:
        options = ReportOptions(sr=sr)
        made[sr.value] = build_structured_report(
            entries,
            None,
            CREATED,
            course=told,
            further=[_reference(made["trend"])],
            sop_class_uid=options.report_sop_class,
        )
    return made


NAMES = (
    *("normalized", "in place", "comparison", "normalized as vl", "in place as vl", "trend", "patient pdf"),
    *REPORTS,
)


def save(name: str, folder: Path) -> Path:
    path = folder / f"{name.replace(' ', '-')}.dcm"
    path.write_bytes(encoded(objects()[name]))
    return path


def test_no_object_is_forgotten() -> None:
    assert set(NAMES) == set(objects())


@pytest.mark.parametrize("name", NAMES)
def test_dciodvfy_finds_no_error(name: str, tmp_path: Path) -> None:
    said = run_tool("dciodvfy", save(name, tmp_path), check=False).stdout
    assert said.splitlines()[0] == IODS.get(name, "SCImage")
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_all_of_a_study_agree_on_patient_and_study(tmp_path: Path) -> None:
    said = run_tool("dcentvfy", *(save(name, tmp_path) for name in NAMES), check=False).stdout
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("name", REPORTS)
def test_dcmtk_prints_and_renders_the_report(name: str, tmp_path: Path) -> None:
    path = save(name, tmp_path)
    printed = run_tool("dsrdump", "+Pl", path).stdout
    for expected in (
        *('"Facial normality score")="4.82"', '"Facial normality score of the encounter before")="4.5"'),
        *('"Change of facial normality score")="0.32"', '"Smallest change that exceeds noise")="1.42"'),
        *('"Share of deviation: nose")="61.2"', '"Change of the score exceeds noise")=(373067005'),
        *(
            "seed = 7",
            "generator sha256 = " + "a" * 64,
            "(en-US,RFC5646",
            '"Device Observer Name")="facenorm"',
        ),
    ):
        assert expected in printed
    run_tool("dsr2html", path, tmp_path / "report.html")
    rendered = (tmp_path / "report.html").read_text("latin-1")
    for expected in (
        "4.82 {score}",
        "Change +0.32: within noise",
        "For research use only. Not a medical device.",
    ):
        assert expected in rendered


@pytest.mark.parametrize("name", REPORTS)
def test_highdicom_reads_the_report(name: str, tmp_path: Path) -> None:
    read = hd.sr.srread(save(name, tmp_path))
    (scored, rejected) = read.content.get_planar_roi_measurement_groups()
    values = {m.name.value: m.value for m in scored.get_measurements()}
    assert (values["SCORE"], values["SCORE_PREV"], values["SHARE_NOSE"]) == (4.82, 4.5, 61.2)
    (verdict,) = (e for e in scored.get_qualitative_evaluations() if e.name.value == "CHANGE_EXCEEDS")
    assert verdict.value.meaning == "No"
    assert rejected.get_measurements() == []
    evidence = {instance for _, _, instance, _ in read.get_evidence()}
    named = ("normalized", "in place", "comparison", "trend")
    assert {str(objects()[one].SOPInstanceUID) for one in named} < evidence


def test_orthanc_stores_and_returns_every_object(orthanc: OrthancPeer, tmp_path: Path) -> None:
    paths = [save(name, tmp_path) for name in NAMES]
    for _ in range(2):  # what is sent again is the same object
        run_tool("storescu", "-R", "-aec", orthanc.ae_title, orthanc.host, str(orthanc.dicom_port), *paths)
    returned = {str(one.SOPInstanceUID): one for one in orthanc.datasets()}
    assert set(returned) == {str(one.SOPInstanceUID) for one in objects().values()}
    for name, sent in objects().items():
        held = returned[str(sent.SOPInstanceUID)]
        for keyword in ("PixelData", "EncapsulatedDocument", "ContentSequence", "SOPClassUID"):
            assert (keyword in held) == (keyword in sent), name
            if keyword in sent:
                assert held[keyword].value == sent[keyword].value, (name, keyword)


def test_under_the_compatible_setting_all_is_what_weasis_reads() -> None:
    options = ReportOptions(compatible=True)
    assert options.report_sop_class == ReportOptions(sr=ReportClass.COMPREHENSIVE).report_sop_class
    assert ReportOptions(sr=ReportClass.ENHANCED, compatible=True).report_sop_class == (
        ReportOptions(sr=ReportClass.ENHANCED).report_sop_class
    )
    assert options.image_sop_class == SecondaryCaptureImageStorage
    assert objects()["in place as vl"].SOPClassUID == VLPhotographicImageStorage
    assert all("NumberOfFrames" not in one for one in objects().values())
