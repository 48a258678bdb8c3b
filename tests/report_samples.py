"""Results and photographs for the report tests: plain patterns, nobody's face, plainly test patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from pipeline.encounter_score import EncounterScore, encounter_score, scoring_id
from pipeline.result import Rejection, RejectionReason, Score
from reports.comparison_image import build_comparison_image
from reports.comparison_picture import Panels
from reports.normalized_photograph import build_normalized_in_place, build_normalized_photograph
from reports.reported_photograph import (
    ObjectReference,
    PredecessorReport,
    ReportedCourse,
    ReportedPhotograph,
)
from reports.structured_report import build_structured_report
from tests.peers import run_tool
from tests.sample_score import COLUMNS, ROWS, pattern, provenance, score

CREATED = datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=UTC)
STUDY_UID = "1.2.826.0.1.3680043.8.498.1"

# Names of test patients in the character sets that the tests send.
NAMES: Mapping[str, tuple[str | list[str], str]] = {
    "latin-1": ("ISO_IR 100", "TËST^PATIÉNT"),
    "utf-8": ("ISO_IR 192", "TEST^PATIENT=試験^患者=اختبار^مريض"),
    "arabic": ("ISO_IR 127", "اختبار^مريض"),
    "japanese": (["", "ISO 2022 IR 87"], "TEST^PATIENT=試験^患者=てすと^かんじゃ"),
}


def rejection(reason: RejectionReason = RejectionReason.NO_FACE, **changes: Any) -> Rejection:
    values: dict[str, Any] = {
        "detail": "Photograph the face upright, from the front.",
        "provenance": provenance(),
    }
    return Rejection(reason=reason, **(values | changes))


def secondary_capture(number: int = 1, **changes: Any) -> FileDataset:
    """Return an uncompressed RGB Secondary Capture, the `number`th photograph of the test study."""
    uid = UID(f"{STUDY_UID}.1.{number}")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=b"\x00" * 128)
    image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, uid
    image.StudyInstanceUID, image.SeriesInstanceUID = STUDY_UID, f"{STUDY_UID}.1"
    image.Modality, image.SeriesNumber, image.InstanceNumber = "XC", 1, number
    image.ConversionType, image.Manufacturer = "DI", "TEST CAMERA"
    image.PatientName, image.PatientID, image.IssuerOfPatientID = "TEST^PATIENT", "TEST-1", "TEST SITE"
    image.PatientBirthDate, image.PatientSex = "19700101", "O"
    image.StudyDate, image.StudyTime, image.StudyID = "20260304", "040000", "TEST1"
    image.AccessionNumber, image.ReferringPhysicianName = "TEST-ACC-1", "TEST^REFERRER"
    image.StudyDescription = "Test photographs"
    image.Rows, image.Columns = ROWS, COLUMNS
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    image.PixelData = pattern().tobytes()
    for keyword, value in changes.items():
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)
    return image


def vl_photograph(folder: Path, name: str) -> FileDataset:
    """Return a JPEG VL Photographic Image made by img2dcm, of a patient named as NAMES says."""
    Image.fromarray(pattern()).save(folder / "pattern.jpg", quality=90)
    run_tool("img2dcm", "-vlp", folder / "pattern.jpg", folder / "photograph.dcm")
    image = pydicom.dcmread(folder / "photograph.dcm")
    image.SpecificCharacterSet, image.PatientName = NAMES[name]
    image.PatientID, image.StudyDate, image.StudyTime = "TEST-2", "20260304", "040000"
    image.save_as(folder / "photograph.dcm")
    return pydicom.dcmread(folder / "photograph.dcm")


def reported(
    source: Dataset, result: Score | Rejection, normalized: Dataset | None = None
) -> ReportedPhotograph:
    reference = (
        ObjectReference(normalized.SOPClassUID, normalized.SOPInstanceUID, normalized.SeriesInstanceUID)
        if normalized is not None
        else None
    )
    return ReportedPhotograph(
        source=source,
        result=result,
        normalized=reference,
        scoring_id=scoring_id(
            str(source.SOPInstanceUID), result.provenance.digest() if result.provenance else "unscored"
        ),
    )


def objects_for(
    photographs: Sequence[tuple[Dataset, Score | Rejection]],
    predecessor: PredecessorReport | None = None,
    created: datetime = CREATED,
) -> tuple[FileDataset, list[FileDataset]]:
    """Return the report on `photographs` and the normalized photographs of those that have a score."""
    entries, images = [], []
    for source, result in photographs:
        image = None
        if isinstance(result, Score):
            image = build_normalized_photograph(source, pattern(64, 64), result, created)
            images.append(image)
        entries.append(reported(source, result, image))
    return build_structured_report(entries, predecessor, created), images


EARLIER = (("20250304", 3.1, {}), ("20251104", 2.9, {"seed": 8}), ("20260104", 4.5, {}))


def course(result: Score | None = None) -> ReportedCourse:
    """Return the test study's score among earlier ones, of which one was scored under another seed."""
    now = encounter_score(STUDY_UID, "20260304", "040000", [(f"{STUDY_UID}.1.1", result or score())])
    return ReportedCourse(now, (*earlier_scores(), now))


def earlier_scores() -> list[EncounterScore]:
    """Return EARLIER as encounters of their own."""
    return [
        encounter_score(
            f"{STUDY_UID}.{number}",
            date,
            "",
            [(f"{STUDY_UID}.{number}.1", score(value=value, provenance=provenance(**changes)))],
        )
        for number, (date, value, changes) in enumerate(EARLIER, 100)
    ]


def images_of(
    source: Dataset, result: Score, sop_class_uid: UID = SecondaryCaptureImageStorage
) -> dict[str, FileDataset]:
    """Return kind -> each image that is made of one photograph."""
    told = course(result)
    panels = Panels(*(pattern(64, 64) for _ in range(3)))
    return {
        "normalized": build_normalized_photograph(source, pattern(64, 64), result, CREATED, sop_class_uid),
        "in place": build_normalized_in_place(source, pattern(), result, CREATED, sop_class_uid),
        "comparison": build_comparison_image(source, panels, result, told.encounter, told.history, CREATED),
    }


def encoded(dataset: FileDataset) -> bytes:
    """Return `dataset` as the bytes of a file."""
    with BytesIO() as file:
        dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()
