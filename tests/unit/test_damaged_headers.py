"""A damaged attribute costs a photograph that attribute, and neither its report nor its neighbours'."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from dicom_node.photograph_header import read_header
from reports.patient_name import readable_names
from reports.patient_page import PatientPage
from reports.patient_pdf import build_patient_pdf
from reports.patient_study import local_time
from reports.reported_scores import read_scores
from reports.trend_image import build_trend_image
from storage.artefacts import STRUCTURED_REPORT
from storage.tables import Patient
from tests.report_samples import CREATED, course, encoded, images_of, objects_for, score, secondary_capture
from tests.small_archive import SmallArchive, photograph


@dataclass(frozen=True, slots=True)
class Damage:
    """What is set in the header, and which bytes of the file are then replaced by others."""

    set_in: Callable[[Dataset], None]
    replaced: bytes = b""
    by: bytes = b""

    def done_to(self, image: FileDataset) -> FileDataset:
        """Return the photograph as it is read from a file that has the damage."""
        self.set_in(image)
        file = encoded(image)
        assert self.replaced in file
        return pydicom.dcmread(BytesIO(file.replace(self.replaced, self.by, 1) if self.replaced else file))


def value(keyword: str, text: str) -> Damage:
    return Damage(lambda header: setattr(header, keyword, text))


def of_vr(keyword: str, vr: str, content: object) -> Damage:
    return Damage(lambda header: header.add(DataElement(keyword, vr, content)))


def nested(text: str) -> Sequence:
    item = Dataset()
    item.CodeMeaning = text
    return Sequence([item])


DAMAGES = {
    "offset of 99 hours": value("TimezoneOffsetFromUTC", "+9900"),
    "offset of a day": value("TimezoneOffsetFromUTC", "+2400"),
    "offset of 90 minutes": value("TimezoneOffsetFromUTC", "+0090"),
    "offset in superscripts": Damage(
        lambda header: setattr(header, "TimezoneOffsetFromUTC", "+2200"), b"+2200", b"+\xb2\xb200"
    ),
    "sequence of stray bytes": Damage(
        lambda header: header.add(DataElement("ProcedureCodeSequence", "OB", b"\1\2\3\4")),
        b"\x08\x00\x32\x10OB",
        b"\x08\x00\x32\x10SQ",
    ),
    "nested unknown VR": Damage(
        lambda header: setattr(header, "ProcedureCodeSequence", nested("Test")),
        b"\x08\x00\x04\x01LO",
        b"\x08\x00\x04\x01ZZ",
    ),
    "unknown VR": Damage(lambda _: None, b"\x08\x00\x30\x10LO", b"\x08\x00\x30\x10ZZ"),
    "StudyID a number": of_vr("StudyID", "US", 5),
    "StudyDescription a number": of_vr("StudyDescription", "FD", 5.0),
    "PatientSex a sequence": of_vr("PatientSex", "SQ", nested("Test")),
    "PatientName a sequence": of_vr("PatientName", "SQ", nested("Test")),
    "PatientName a number": of_vr("PatientName", "US", 5),
    "ReferringPhysicianName bytes": of_vr("ReferringPhysicianName", "OB", b"\1\2"),
    "StudyTime a number": of_vr("StudyTime", "UL", 120000),
    "ProcedureCodeSequence a text": of_vr("ProcedureCodeSequence", "LO", "Test"),
    "ManufacturerModelName a number": of_vr("ManufacturerModelName", "US", 5),
    "ratio a sequence": of_vr("LossyImageCompressionRatio", "SQ", nested("Test")),
    "InstanceNumber a sequence": of_vr("InstanceNumber", "SQ", nested("Test")),
    "InstanceNumber too large": value("InstanceNumber", "9" * 12),
    "PatientName twice": value("PatientName", "TEST^ONE\\TEST^TWO"),
    "PatientWeight no number": Damage(
        lambda header: setattr(header, "PatientWeight", "70"),
        b"\x30\x10DS\x02\x0070",
        b"\x30\x10DS\x02\x00ab",
    ),
}
# As in the node, where what pydicom warns of is no error.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_every_object_is_built_and_written(damage: Damage) -> None:
    source = damage.done_to(secondary_capture(LossyImageCompression="01"))
    told = course()
    report, _ = objects_for([(source, score())])
    page = build_patient_pdf(source, PatientPage(told, None, None), CREATED)
    trend = build_trend_image([source], told, CREATED)
    for one in (report, page, trend, *images_of(source, score()).values()):
        again = pydicom.dcmread(BytesIO(encoded(one)))
        for _ in again.iterall():
            pass
        assert (again.PatientID, again.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
        for keyword in ("PatientName", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
            assert keyword in again


# One of each way in which the whole study was lost: a time, a parser, a VR, and the writing.
@pytest.mark.parametrize(
    "name", ["offset of a day", "sequence of stray bytes", "nested unknown VR", "StudyID a number"]
)
def test_one_beside_a_good_photograph_gives_one_report_with_both(name: str, tmp_path: Path) -> None:
    archive = SmallArchive(tmp_path)
    archive.receive(DAMAGES[name].done_to(photograph(1)))
    archive.receive(photograph(1, 2))
    archive.settle()
    (report,) = archive.objects(STRUCTURED_REPORT)
    assert len(read_scores(report)) == 2
    archive.engine.dispose()


def test_an_attribute_that_is_damaged_is_left_out_or_empty_and_the_others_stay() -> None:
    source = secondary_capture(PatientWeight="70")
    for name in ("StudyID a number", "sequence of stray bytes", "offset of a day"):
        source = DAMAGES[name].done_to(source)
    report, _ = objects_for([(source, score())])
    assert report.StudyID == ""
    assert "ProcedureCodeSequence" not in report
    assert "TimezoneOffsetFromUTC" not in report
    assert (report.PatientName, report.PatientWeight) == ("TEST^PATIENT", 70)


def test_a_text_of_another_text_vr_is_the_same_text() -> None:
    source = of_vr("PatientID", "SH", "TEST-1").done_to(secondary_capture())
    report, _ = objects_for([(source, score())])
    assert (report.PatientID, report["PatientID"].VR) == ("TEST-1", "LO")


@pytest.mark.parametrize(
    ("offset", "hours"), [("+0530", 5.5), ("-1200", -12), ("+1400", 14), ("+0000", 0), (" +0100 ", 1)]
)
def test_an_offset_within_the_standards_range_is_the_photographs_clock(offset: str, hours: float) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    local = local_time(secondary_capture(TimezoneOffsetFromUTC=offset), noon)
    assert local.utcoffset() == timedelta(hours=hours)
    report, _ = objects_for([(secondary_capture(TimezoneOffsetFromUTC=offset), score())])
    assert report.TimezoneOffsetFromUTC.strip() == offset.strip()


@pytest.mark.parametrize("offset", ["+1401", "-1201", "-1330", "0100", "+1", "+01:00", "+0060", "+01000"])
def test_any_other_offset_is_none(offset: str) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    local = local_time(secondary_capture(TimezoneOffsetFromUTC=offset), noon)
    assert local.utcoffset() == noon.astimezone().utcoffset()
    report, _ = objects_for([(secondary_capture(TimezoneOffsetFromUTC=offset), score())])
    assert "TimezoneOffsetFromUTC" not in report


@pytest.mark.parametrize("name", ["PatientSex a sequence", "PatientName a sequence", "PatientName a number"])
def test_a_merged_patients_damaged_identity_is_empty(name: str, tmp_path: Path) -> None:
    own, other = tmp_path / "own.dcm", tmp_path / "other.dcm"
    own.write_bytes(encoded(photograph(1, PatientID="TEST-OLD")))
    other.write_bytes(encoded(DAMAGES[name].done_to(photograph(2))))
    header = read_header(own, Patient(patient_id="TEST-1", issuer_of_patient_id="TEST SITE"), [other])
    assert header[name.partition(" ")[0]].value == ""
    assert header.PatientID == "TEST-1"


def test_a_name_that_is_none_is_not_printed() -> None:
    for name in ("PatientName a sequence", "PatientName a number"):
        assert readable_names(DAMAGES[name].done_to(secondary_capture())) == []
