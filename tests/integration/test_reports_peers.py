"""Reports and normalized photographs under tools and archives that nobody here wrote."""

from __future__ import annotations

import re
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from pipeline.result import RejectionReason
from reports import codes
from reports.reported_photograph import ObjectReference, PredecessorReport
from reports.reported_scores import read_scores
from tests.integration.test_every_object_peers import objects
from tests.peers import OrthancPeer, require, run_tool
from tests.report_samples import (
    NAMES,
    encoded,
    objects_for,
    rejection,
    score,
    secondary_capture,
    vl_photograph,
)

# The 2022 validator's stylesheets exceed the limits that newer Java runtimes set.
JAVA_LIMITS = " ".join(f"-Djdk.xml.xpath{name}Limit=0" for name in ("ExprGrp", "ExprOp", "TotalOp"))
# It runs once: to compile its stylesheets well takes longer than to run them.
QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
# No photographic procedure is in CID 100: the one error that an honest code must give.
CID_100 = re.compile(r"\(197157006,SCT,.*not found in context group 100")

RESULTS = {
    "scored": [score()],
    "rejected": [rejection()],
    "mixed": [score(), rejection(RejectionReason.UNREADABLE_PIXELS, provenance=None), score(value=1.0)],
}


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("Error")]


def save(dataset: FileDataset, path: Path) -> Path:
    path.write_bytes(encoded(dataset))
    return path


def from_secondary_captures(kind: str) -> tuple[FileDataset, list[FileDataset]]:
    sources = [secondary_capture(number) for number in range(1, 4)]
    return objects_for(list(zip(sources, RESULTS[kind], strict=False)))


def check_image(image: FileDataset, folder: Path) -> None:
    finished = run_tool("dciodvfy", save(image, folder / "image.dcm"), check=False)
    assert "SCImage" in finished.stdout
    assert errors(finished.stdout) == []


def check_report(report: FileDataset, folder: Path) -> None:
    path = save(report, folder / "report.dcm")
    finished = run_tool("dciodvfy", path, check=False)
    assert "Comprehensive3DSR" in finished.stdout
    assert errors(finished.stdout) == []


@pytest.mark.parametrize("kind", RESULTS)
def test_dciodvfy_finds_no_error_on_secondary_captures(kind: str, tmp_path: Path) -> None:
    report, images = from_secondary_captures(kind)
    check_report(report, tmp_path)
    for image in images:
        check_image(image, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_dciodvfy_finds_no_error_on_jpeg_photographs(name: str, tmp_path: Path) -> None:
    source = vl_photograph(tmp_path, name)
    report, images = objects_for([(source, score())])
    assert images[0].LossyImageCompression == "01"
    check_report(report, tmp_path)
    check_image(images[0], tmp_path)
    rejected, _ = objects_for([(source, rejection())])
    check_report(rejected, tmp_path)


def test_dciodvfy_finds_what_is_missing(tmp_path: Path) -> None:
    report, images = from_secondary_captures("scored")
    del images[0].ConversionType
    del report.CompletionFlag
    for broken in (report, images[0]):
        finished = run_tool("dciodvfy", save(broken, tmp_path / "broken.dcm"), check=False)
        assert errors(finished.stdout) != []


def test_objects_of_a_study_agree_on_patient_and_study(tmp_path: Path) -> None:
    source = secondary_capture()
    report, images = objects_for([(source, score())])
    paths = [save(one, tmp_path / f"{n}.dcm") for n, one in enumerate([source, report, *images])]
    assert errors(run_tool("dcentvfy", *paths, check=False).stdout) == []
    report.PatientBirthDate = "19800101"
    save(report, paths[1])
    assert errors(run_tool("dcentvfy", *paths, check=False).stdout) != []


@pytest.mark.parametrize("kind", ["comprehensive3d", pytest.param("enhanced", marks=pytest.mark.torture)])
def test_pixelmed_finds_only_the_documented_error(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("DicomSRValidator")
    monkeypatch.setenv("JDK_JAVA_OPTIONS", f"{JAVA_LIMITS} {QUICK_JAVA}")
    path = save(objects()[kind], tmp_path / "report.dcm")  # with scores, a change, and a rejection
    text = run_tool(
        "DicomSRValidator", "-checktemplateid", "-checkcontentitemorder", path, timeout=120
    ).stdout
    assert "Found Root Template TID_1500" in text
    assert "IOD validation complete" in text
    (error,) = errors(text)
    assert CID_100.search(error)


def test_dsrdump_shows_score_reason_and_predecessor(tmp_path: Path) -> None:
    sources = [(secondary_capture(1), score()), (secondary_capture(2), rejection())]
    first, _ = objects_for(sources[:1])
    reference = ObjectReference(first.SOPClassUID, first.SOPInstanceUID, first.SeriesInstanceUID)
    report, _ = objects_for(sources, PredecessorReport(first.StudyInstanceUID, reference))
    text = run_tool("dsrdump", "+Pl", save(report, tmp_path / "report.dcm")).stdout
    assert '"Facial normality score")="4.82" ({score},UCUM,"score")' in text
    assert '(REJ_NO_FACE,99FACENORM,"Rejected: no face found")' in text
    assert "Synthetic regressor" in text
    assert "For research use only. Not a medical device." in text
    assert "Predecessor Docs" in text


def test_highdicom_reads_the_report(tmp_path: Path) -> None:
    report, images = from_secondary_captures("mixed")
    again = hd.sr.srread(save(report, tmp_path / "report.dcm"))
    assert isinstance(again, hd.sr.Comprehensive3DSR)
    groups = again.content.get_planar_roi_measurement_groups()
    assert len(groups) == 3
    shares = len(score().region_shares)
    scored = 2 + shares + len(codes.FEATURES) + len(codes.LOCAL_FEATURES)  # score, uncertainty, the rest
    assert scored == 14
    assert [len(group.get_measurements()) for group in groups] == [scored, 0, scored]
    assert groups[0].get_measurements()[0].value == 4.82
    assert groups[0].roi.graphic_type == hd.sr.GraphicTypeValues.POLYLINE
    assert np.allclose(groups[0].roi.value, score().outline)
    evidence = {instance for _, _, instance, _ in again.get_evidence()}
    assert {image.SOPInstanceUID for image in images} < evidence


def test_orthanc_stores_and_returns_both(orthanc: OrthancPeer, tmp_path: Path) -> None:
    source = vl_photograph(tmp_path, "japanese")
    report, (image,) = objects_for([(source, score())])
    paths = [save(report, tmp_path / "report.dcm"), save(image, tmp_path / "image.dcm")]
    for _ in range(2):  # what is sent again is the same object
        run_tool("storescu", "-R", "-aec", orthanc.ae_title, orthanc.host, str(orthanc.dicom_port), *paths)
    assert orthanc.instance_uids() == sorted([report.SOPInstanceUID, image.SOPInstanceUID])
    returned = {one.SOPInstanceUID: one for one in orthanc.datasets()}
    assert returned[image.SOPInstanceUID].PixelData == image.PixelData
    assert returned[image.SOPInstanceUID].ICCProfile == image.ICCProfile
    assert read_scores(returned[report.SOPInstanceUID]) == read_scores(report)
    (study,) = orthanc.get("/studies?expand")
    assert study["PatientMainDicomTags"]["PatientID"] == "TEST-2"
    assert study["PatientMainDicomTags"]["PatientName"].rstrip() == NAMES["japanese"][1]
    assert len(study["Series"]) == 2


def test_what_dcmtk_compresses_again_still_shows_the_same(tmp_path: Path) -> None:
    _, (image,) = from_secondary_captures("scored")
    run_tool("dcmcjpeg", "+e1", save(image, tmp_path / "image.dcm"), tmp_path / "lossless.dcm")
    assert np.array_equal(pydicom.dcmread(tmp_path / "lossless.dcm").pixel_array, image.pixel_array)
