"""The report of a study: TID 1500 Measurement Report (PS3.16), a Comprehensive 3D SR unless set otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import highdicom.sr as hd
from highdicom.sr.utils import collect_evidence
from pydicom.dataset import Dataset, FileDataset
from pydicom.sr.codedict import codes as standard
from pydicom.uid import UID, Comprehensive3DSRStorage

from reports import codes
from reports.equipment import (
    DEVICE_OBSERVER_UID,
    MANUFACTURER,
    MANUFACTURER_MODEL_NAME,
    add_equipment,
)
from reports.header import trimmed, whole_number
from reports.image_library import build_image_library
from reports.measurement_group import build_measurement_group
from reports.patient_study import local_time, make_room_for_own_text, new_object
from reports.reported_photograph import (
    ObjectReference,
    PredecessorReport,
    ReportedCourse,
    ReportedPhotograph,
)
from reports.uids import derive_uid

SERIES_NUMBER: Final = 9002
SERIES_DESCRIPTION: Final = "Facial normality (research use)"


def build_structured_report(
    photographs: Sequence[ReportedPhotograph],
    predecessor: PredecessorReport | None,
    created: datetime,
    *,
    course: ReportedCourse | None = None,
    further: Sequence[ObjectReference] = (),
    sop_class_uid: UID = Comprehensive3DSRStorage,
) -> FileDataset:
    """Return the report on `photographs`, all of one patient and one study, in a series of its own.

    course: the encounter's score among the patient's others, None where no photograph has a score. further:
    images of ours that show the whole encounter. sop_class_uid: Comprehensive 3D, Comprehensive or Enhanced
    SR. The order of `photographs` does not matter. Equal arguments give equal bytes; the UIDs depend on the
    photographs, the class, every scoring that is shown and the predecessor, not on `created`, so keep the
    finished object and resend those bytes. Raises ValueError without photographs, for two results of one
    photograph, and for photographs of several patients or studies.
    """
    _check_one_patient_and_study(photographs)
    ordered = sorted(photographs, key=_order)
    first = ordered[0].source
    names = {
        "source_uids": [str(one.source.SOPInstanceUID) for one in ordered],
        "scoring_ids": [*(one.scoring_id for one in ordered), *(course.scoring_ids if course else [])],
    }
    before = predecessor.report.sop_instance_uid if predecessor else None
    report = new_object(
        source=first,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=derive_uid(
            "structured_report", **names, predecessor_uid=before, variant=sop_class_uid
        ),
        created=created,
    )
    report.SeriesInstanceUID = derive_uid(
        "structured_report_series", **names, predecessor_uid=before, variant=sop_class_uid
    )
    _add_document_general(report, local_time(first, created))
    if predecessor is not None:
        report.PredecessorDocumentsSequence = [_predecessor_item(predecessor)]
    _add_content(report, ordered, course, further)
    make_room_for_own_text(report, first)
    return report


def _check_one_patient_and_study(photographs: Sequence[ReportedPhotograph]) -> None:
    if not photographs:
        raise ValueError("a report needs at least one photograph")
    sources = [one.source for one in photographs]
    if len({str(source.SOPInstanceUID) for source in sources}) < len(sources):
        raise ValueError("a photograph appears twice in one report")
    if len({str(source.StudyInstanceUID) for source in sources}) > 1:
        raise ValueError("the photographs belong to several studies")
    if len({(trimmed(s, "PatientID"), trimmed(s, "IssuerOfPatientID")) for s in sources}) > 1:
        raise ValueError("the photographs belong to several patients")


def _order(photograph: ReportedPhotograph) -> tuple[int, int, str]:
    """Sort as a viewer shows the study: series, instance, and the UID where these say nothing."""
    source = photograph.source
    series, instance = (whole_number(source, f"{name}Number", default=0) for name in ("Series", "Instance"))
    return series, instance, str(source.SOPInstanceUID)


def _add_document_general(report: FileDataset, local: datetime) -> None:
    """Write the SR Document Series, General Equipment and SR Document General modules (C.17.1, C.17.2)."""
    report.Modality = "SR"
    report.SeriesNumber = SERIES_NUMBER
    report.SeriesDescription = SERIES_DESCRIPTION
    report.ReferencedPerformedProcedureStepSequence = []
    add_equipment(report)
    report.InstanceNumber = 1
    report.ContentDate = f"{local:%Y%m%d}"
    report.ContentTime = f"{local:%H%M%S.%f}"
    report.CompletionFlag = "COMPLETE"
    report.VerificationFlag = "UNVERIFIED"
    report.PerformedProcedureCodeSequence = []
    codes.add_coding_scheme(report)


def _predecessor_item(predecessor: PredecessorReport) -> Dataset:
    """Return the predecessor as a hierarchical SOP instance reference (PS3.3 C.17.2.1)."""
    instance = Dataset()
    instance.ReferencedSOPClassUID = predecessor.report.sop_class_uid
    instance.ReferencedSOPInstanceUID = predecessor.report.sop_instance_uid
    series = Dataset()
    series.SeriesInstanceUID = predecessor.report.series_instance_uid
    series.ReferencedSOPSequence = [instance]
    item = Dataset()
    item.StudyInstanceUID = predecessor.study_instance_uid
    item.ReferencedSeriesSequence = [series]
    return item


def _add_content(
    report: FileDataset,
    photographs: Sequence[ReportedPhotograph],
    course: ReportedCourse | None,
    further: Sequence[ObjectReference],
) -> None:
    """Write the SR Document Content module and the evidence that it refers to (C.17.3, C.17.2)."""
    sources = [one.source for one in photographs]
    ours = [
        _as_evidence(one.source, reference)
        for one in photographs
        for reference in (*((one.normalized,) if one.normalized else ()), *one.further)
    ]
    ours += [_as_evidence(sources[0], reference) for reference in further]
    content = hd.MeasurementReport(
        observation_context=_device_observer(),
        procedure_reported=codes.PHOTOGRAPHY_OF_PATIENT,
        imaging_measurements=[
            build_measurement_group(one, position, course) for position, one in enumerate(photographs, 1)
        ],
        title=standard.DCM.ImagingMeasurementReport,
    )[0]
    position = next(i for i, item in enumerate(content.ContentSequence) if item.ValueType == "CONTAINER")
    content.ContentSequence.insert(position, build_image_library(sources, ours))
    for element in content:
        report[element.tag] = element
    evidence, _ = collect_evidence([*sources, *ours], content, report.StudyInstanceUID)
    report.CurrentRequestedProcedureEvidenceSequence = evidence


def _as_evidence(source: Dataset, reference: ObjectReference) -> Dataset:
    """Return the place of an image of ours in the study, as highdicom wants to see it."""
    image = Dataset()
    image.StudyInstanceUID = source.StudyInstanceUID
    image.SeriesInstanceUID = reference.series_instance_uid
    image.SOPClassUID = reference.sop_class_uid
    image.SOPInstanceUID = reference.sop_instance_uid
    return image


def _device_observer() -> hd.ObservationContext:
    """Return the software as the observer (TID 1001, 1002, 1004)."""
    return hd.ObservationContext(
        observer_device_context=hd.ObserverContext(
            observer_type=standard.DCM.Device,
            observer_identifying_attributes=hd.DeviceObserverIdentifyingAttributes(
                uid=DEVICE_OBSERVER_UID,
                name=MANUFACTURER,
                manufacturer_name=MANUFACTURER,
                model_name=MANUFACTURER_MODEL_NAME,
            ),
        )
    )
