"""The patient's name survives in the photograph's own character set, or in UTF-8."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from dicom_node.photograph_header import read_header
from reports.patient_name import readable_names
from storage.tables import Patient
from tests.report_samples import NAMES, encoded, objects_for, provenance, score, secondary_capture


def through_a_file(dataset):
    return pydicom.dcmread(BytesIO(encoded(dataset)))


@pytest.mark.parametrize("name", NAMES)
def test_declared_sets_are_kept(name: str) -> None:
    character_set, text = NAMES[name]
    source = through_a_file(secondary_capture(SpecificCharacterSet=character_set, PatientName=text))
    report, images = objects_for([(source, score())])
    for result in map(through_a_file, [report, *images]):
        assert result.SpecificCharacterSet == character_set
        assert str(result.PatientName) == text
        assert result.PatientName.encode() == source.PatientName.encode()


def test_without_a_set_the_bytes_go_out_as_they_came() -> None:
    source = through_a_file(secondary_capture(PatientName="TËST^PATIENT"))
    assert "SpecificCharacterSet" not in source
    report, _ = objects_for([(source, score())])
    assert "SpecificCharacterSet" not in report
    assert "TËST^PATIENT".encode("latin-1") in encoded(report)


def test_text_that_does_not_fit_is_written_in_utf_8() -> None:
    source = secondary_capture(SpecificCharacterSet="ISO_IR 100", PatientName="TEST^PATIENT=試験^患者")
    report, images = objects_for([(source, score())])
    for result in map(through_a_file, [report, *images]):
        assert result.SpecificCharacterSet == "ISO_IR 192"
        assert str(result.PatientName) == "TEST^PATIENT=試験^患者"


@pytest.mark.parametrize(
    "declared",
    [None, "ISO_IR 100", "ISO_IR 144", "ISO_IR 13", "GB18030"]
    + [["", f"ISO 2022 IR {number}"] for number in (58, 87, 149, 159)],
)
@pytest.mark.parametrize("name", ["Süd", "病院", "한국", "¥"])
def test_what_a_site_calls_its_regressor_and_generator_is_told_in_every_set(
    declared: str | list[str] | None, name: str
) -> None:
    source = secondary_capture()
    if declared:
        source.SpecificCharacterSet = declared
    setup = provenance(regressor=f"regressor {name}", generator=f"generator {name}")
    report, images = objects_for([(through_a_file(source), score(provenance=setup))])
    report, image = map(through_a_file, [report, *images])
    told = {str(element.value) for element in report.iterall() if element.keyword == "TextValue"}
    assert {f"{what} = {what} {name}" for what in ("regressor", "generator")} <= told
    assert f"Generator generator {name}" in image.DerivationDescription


def test_chinese_by_code_extensions_is_written_in_utf_8() -> None:
    """Pydicom leaves the escape sequence of this set in what it reads, and writes none."""
    name, study = (b"\x1b$)A" + text.encode("gb2312") for text in ("试验", "面部照片"))
    source = secondary_capture(
        SpecificCharacterSet=["", "ISO 2022 IR 58"], PatientName="TEST^X=NNNNNNNN", StudyDescription=12 * "S"
    )
    file = encoded(source).replace(8 * b"N", name).replace(12 * b"S", study)
    source = pydicom.dcmread(BytesIO(file))
    report, images = objects_for([(source, score())])
    for result in map(through_a_file, [report, *images]):
        assert result.SpecificCharacterSet == "ISO_IR 192"
        assert str(result.PatientName) == "TEST^X=试验"
        assert result.StudyDescription == "面部照片"
    assert readable_names(source) == ["X TEST", "试验"]


@pytest.mark.parametrize("declared", [None, ""])
@pytest.mark.parametrize(("identifier", "issuer"), [("TEST-1", "TËST SITE"), ("TEST-試験", "TEST SITE")])
def test_the_identifier_of_who_stays_after_a_merge_is_written_as_it_is(
    declared: str | None, identifier: str, issuer: str, tmp_path: Path
) -> None:
    own = secondary_capture(PatientID="TEST-OLD")
    if declared is not None:
        own.SpecificCharacterSet = declared
    (tmp_path / "own.dcm").write_bytes(encoded(own))
    header = read_header(
        tmp_path / "own.dcm", Patient(patient_id=identifier, issuer_of_patient_id=issuer), []
    )
    report, images = objects_for([(header, score())])
    for result in map(through_a_file, [report, *images]):
        assert (result.PatientID, result.IssuerOfPatientID) == (identifier, issuer)
        assert result.SpecificCharacterSet == "ISO_IR 192"


def test_an_unknown_set_becomes_utf_8() -> None:
    source = secondary_capture()
    source.SpecificCharacterSet = "ISO_IR 999"
    report, _ = objects_for([(source, score())])
    assert report.SpecificCharacterSet == "ISO_IR 192"


def test_nested_text_is_written_anew_with_the_rest() -> None:
    qualifier = pydicom.Dataset()
    qualifier.PatientID, qualifier.IssuerOfPatientID, qualifier.TypeOfPatientID = (
        "TEST-É",
        "TEST SITÉ",
        "TEXT",
    )
    source = secondary_capture(
        SpecificCharacterSet="ISO_IR 100", OtherPatientIDsSequence=[qualifier], PatientName="TEST^PATIÉNT"
    )
    source = through_a_file(source)
    source.PatientName = "TEST^試験"  # no longer fits, so everything moves to UTF-8
    report, _ = objects_for([(source, score())])
    again = through_a_file(report)
    assert again.SpecificCharacterSet == "ISO_IR 192"
    assert again.OtherPatientIDsSequence[0].PatientID == "TEST-É"
