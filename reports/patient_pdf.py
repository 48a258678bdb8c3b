"""The patient's page as an Encapsulated PDF (PS3.3 A.45.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import EncapsulatedPDFStorage

from reports import codes
from reports.derived_image import add_predecessor
from reports.equipment import add_equipment
from reports.header import text_of
from reports.patient_page import TITLE, PatientPage, draw_patient_page
from reports.patient_study import local_time, new_object
from reports.reported_photograph import ObjectReference
from reports.uids import derive_uid

SERIES_NUMBER: Final = 9006
SERIES_DESCRIPTION: Final = "Facial normality: page for the patient (research use)"


def build_patient_pdf(
    source: Dataset,
    page: PatientPage,
    created: datetime,
    shown_objects: Sequence[ObjectReference] = (),
    predecessor: ObjectReference | None = None,
) -> FileDataset:
    """Return the page in the study of the photograph `source`, whose header is enough.

    shown_objects: the images of ours that are on the page. The UID covers these, every scoring, and the name
    and identifier in the header. Equal arguments give equal bytes.
    """
    study = str(source.StudyInstanceUID)
    header = [text_of(source, keyword) for keyword in ("PatientName", "PatientID", "IssuerOfPatientID")]
    document = new_object(
        source=source,
        sop_class_uid=EncapsulatedPDFStorage,
        sop_instance_uid=derive_uid(
            "patient_pdf",
            source_uids=[study, *(shown.sop_instance_uid for shown in shown_objects)],
            scoring_ids=page.course.scoring_ids,
            predecessor_uid=predecessor.sop_instance_uid if predecessor else None,
            variant=hashlib.sha256("\0".join(header).encode()).hexdigest(),
        ),
        created=created,
    )
    local = local_time(source, created)
    document.SeriesInstanceUID = derive_uid("patient_pdf_series", source_uids=[study])
    document.Modality = "DOC"
    document.SeriesNumber = SERIES_NUMBER
    document.SeriesDescription = SERIES_DESCRIPTION
    add_equipment(document)
    document.ConversionType = "SYN"
    _add_document(document, draw_patient_page(source, page, local), local)
    document.SourceInstanceSequence = [_instance(shown) for shown in shown_objects]
    if not shown_objects:
        del document.SourceInstanceSequence
    add_predecessor(document, predecessor)
    codes.add_coding_scheme(document)
    return document


def _add_document(document: FileDataset, content: bytes, local: datetime) -> None:
    """Write the Encapsulated Document module (PS3.3 C.24.2)."""
    document.InstanceNumber = 1
    document.ContentDate = f"{local:%Y%m%d}"
    document.ContentTime = f"{local:%H%M%S.%f}"
    document.AcquisitionDateTime = ""
    document.BurnedInAnnotation = "YES"
    document.RecognizableVisualFeatures = "YES"
    document.DocumentTitle = TITLE
    document.ConceptNameCodeSequence = [codes.code_item(codes.PATIENT_PAGE)]
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocumentLength = len(content)
    document.EncapsulatedDocument = content + b"\x00" * (len(content) % 2)


def _instance(shown: ObjectReference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = shown.sop_class_uid
    item.ReferencedSOPInstanceUID = shown.sop_instance_uid
    return item
