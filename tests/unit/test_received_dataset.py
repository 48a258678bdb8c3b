from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels import get_decoder
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from dicom_node.admission import admitted_as
from dicom_node.photograph_header import read_header
from dicom_node.received_dataset import UnusableDatasetError, identify, is_uid
from dicom_node.receiver import TRANSFER_SYNTAXES
from dicom_node.settings_sections import Sender
from storage.tables import Patient
from tests.receiving import photograph

# As in the node, where pydicom's warnings are silent: they quote values.
undecodable = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def _file(**attributes: object) -> bytes:
    buffer = BytesIO()
    photograph(**attributes).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_identifiers_are_read_without_padding() -> None:
    found = identify(_file(PatientID=" TEST-7 ", SpecificCharacterSet="ISO_IR 192"), ExplicitVRLittleEndian)
    assert (found.patient_id, found.issuer_of_patient_id, found.study_date) == (
        "TEST-7",
        "TESTHOSPITAL",
        "20260301",
    )
    assert not found.is_own_result


def test_an_identifier_is_read_in_its_character_set() -> None:
    assert (
        identify(
            _file(PatientID="TÉST-7", SpecificCharacterSet="ISO_IR 100"), ExplicitVRLittleEndian
        ).patient_id
        == "TÉST-7"
    )


@undecodable
@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("101112", "101112"),
        ("101112.5", "101112"),
        ("1011", "101100"),
        ("10", "100000"),
        ("", ""),
        ("1", ""),
        ("246000", ""),
        ("10:11:12", ""),
    ],
)
def test_a_time_counts_as_exactly_as_it_was_written(sent: str, kept: str) -> None:
    assert identify(_file(StudyTime=sent), ExplicitVRLittleEndian).study_time == kept


def test_chinese_by_code_extensions_is_no_control_character(tmp_path: Path) -> None:
    chinese = b"\x1b$)A" + "试验".encode("gb2312")
    file = _file(
        SpecificCharacterSet=["", "ISO 2022 IR 58"], IssuerOfPatientID=8 * "S", OtherPatientNames="TEST^OTHER"
    ).replace(8 * b"S", chinese)
    found = identify(file, ExplicitVRLittleEndian)
    assert found.issuer_of_patient_id == "试验"
    patient = Patient(patient_id=found.patient_id, issuer_of_patient_id=found.issuer_of_patient_id)
    (tmp_path / "photograph.dcm").write_bytes(file)
    header = read_header(tmp_path / "photograph.dcm", patient, [])
    assert "OtherPatientNames" in header  # nobody was merged


@undecodable
@pytest.mark.parametrize("keyword", ["PatientID", "IssuerOfPatientID"])
def test_an_identifier_whose_bytes_are_not_of_the_character_set_is_refused(keyword: str) -> None:
    file = _file(SpecificCharacterSet="ISO_IR 192", **{keyword: "TEST?1"}).replace(b"TEST?1", b"TEST\xdc1")
    with pytest.raises(UnusableDatasetError, match=keyword):
        identify(file, ExplicitVRLittleEndian)


@undecodable
@pytest.mark.parametrize("keyword", ["AccessionNumber", "AdmissionID"])
def test_a_number_whose_bytes_are_not_of_the_character_set_is_none(keyword: str) -> None:
    file = _file(SpecificCharacterSet="ISO_IR 192", **{keyword: "TEST?1"}).replace(b"TEST?1", b"TEST\xdc1")
    found = identify(file, ExplicitVRLittleEndian)
    assert {"AccessionNumber": found.accession_number, "AdmissionID": found.admission_id}[keyword] == ""
    assert found.patient_id == "TEST-0001"


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_understood_or_refused(dataset: bytes) -> None:
    whole = _file()
    head = whole[: 144 + int.from_bytes(whole[140:144], "little")]
    for syntax in (ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
        with pytest.raises(UnusableDatasetError):
            identify(head + dataset, syntax)


@settings(deadline=None)
@given(st.integers(0, 2000))
def test_a_truncated_dataset_is_understood_or_refused_without_its_values(length: int) -> None:
    try:
        identify(_file()[:length], ExplicitVRLittleEndian)
    except UnusableDatasetError as error:
        assert "TEST" not in str(error)


def test_a_deflated_bomb_is_refused_early() -> None:
    whole = _file()
    head = whole[: 144 + int.from_bytes(whole[140:144], "little")]
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    chunk = b"\0" * (1 << 24)
    bomb = b"".join(deflater.compress(chunk) for _ in range(65)) + deflater.flush()
    with pytest.raises(UnusableDatasetError, match="too large"):
        identify(head + bomb, DeflatedExplicitVRLittleEndian)


@pytest.mark.parametrize("value", ["1", "1.2.3", "0.0", "2.25." + "9" * 39, "1." * 31 + "22"])
def test_valid_uids(value: str) -> None:
    assert is_uid(value)


@pytest.mark.parametrize("value", ["", ".", "1.", "1..2", "1.02", "1.2\n", "../1", "1.٣", "1" * 65, "1.2/3"])
def test_invalid_uids(value: str) -> None:
    assert not is_uid(value)


@pytest.mark.parametrize("syntax", [syntax for syntax in TRANSFER_SYNTAXES if syntax.is_encapsulated])
def test_every_accepted_compression_can_be_decoded(syntax: object) -> None:
    assert get_decoder(syntax).is_available


def test_a_sender_is_known_by_title_and_host() -> None:
    senders = [Sender(ae_title="A", host="192.0.2.1"), Sender(ae_title="A", host="::1"), Sender(ae_title="B")]
    assert admitted_as(senders, "A ", "192.0.2.1")
    assert admitted_as(senders, "A", "::ffff:192.0.2.1")
    assert admitted_as(senders, "A", "0:0:0:0:0:0:0:1")
    assert admitted_as(senders, "B", "198.51.100.9")
    assert not admitted_as(senders, "A", "192.0.2.2")
    assert not admitted_as(senders, "a", "192.0.2.1")
    assert not admitted_as([], "A", "192.0.2.1")
