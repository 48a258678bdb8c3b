"""The image library of a report: every image that it speaks of (PS3.16 TID 1600 to 1602)."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    RelationshipTypeValues,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from reports import codes
from reports.header import whole_number

_PIXELS = Code("{pixels}", "UCUM", "Pixels")


def build_image_library(photographs: Sequence[Dataset], ours: Sequence[Dataset]) -> ContainerContentItem:
    """Return the library: one group, first the photographs, then the images that were made of them.

    The datasets need SOPClassUID and SOPInstanceUID; Rows and Columns are told where they are known.
    highdicom's own library calls a Secondary Capture's modality "Other" and insists on the size.
    """
    group = _container(standard.DCM.ImageLibraryGroup)
    for image in (*photographs, *ours):
        group.ContentSequence.append(_entry(image))
    library = _container(standard.DCM.ImageLibrary)
    library.ContentSequence.append(group)
    return library


def _container(name: Code) -> ContainerContentItem:
    container = ContainerContentItem(name=name, relationship_type=RelationshipTypeValues.CONTAINS)
    container.ContentSequence = ContentSequence()
    return container


def _entry(image: Dataset) -> ImageContentItem:
    entry = ImageContentItem(
        name=CodedConcept("260753009", "SCT", "Source"),
        referenced_sop_class_uid=image.SOPClassUID,
        referenced_sop_instance_uid=image.SOPInstanceUID,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    context = RelationshipTypeValues.HAS_ACQ_CONTEXT
    entry.ContentSequence = ContentSequence(
        [CodeContentItem(standard.DCM.Modality, codes.EXTERNAL_CAMERA_PHOTOGRAPHY, context)]
    )
    for name, value in (
        (standard.DCM.PixelDataRows, whole_number(image, "Rows", default=0)),
        (standard.DCM.PixelDataColumns, whole_number(image, "Columns", default=0)),
    ):
        if value:
            entry.ContentSequence.append(NumContentItem(name, value, _PIXELS, relationship_type=context))
    return entry
