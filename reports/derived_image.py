"""A colour picture of ours as a DICOM image: Secondary Capture, or VL Photographic (PS3.3 A.8.1, A.32.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms
from pydicom.dataset import Dataset, FileDataset
from pydicom.sr.coding import Code
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    SecondaryCaptureImageStorage,
)

from reports import codes
from reports.equipment import MANUFACTURER, SOFTWARE_VERSION, add_equipment
from reports.header import copied, readable, whole_number
from reports.patient_study import local_time, make_room_for_own_text, new_object
from reports.reported_photograph import ObjectReference

# Transfer syntaxes that lose information -> Lossy Image Compression Method (PS3.3 C.7.6.1.1.5.1).
_LOSSY_METHODS: Final = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000: "ISO_15444_1",
    HTJ2K: "ISO_15444_15",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDescription:
    """What an image of ours says about itself.

    derivation: how it came about, with its codes. comments: what it is worth. faces: whether it shows a
    recognizable face, and so belongs to modality XC; a chart is OT. dated: whether dates of the patient's
    are part of the picture (Burned In Annotation). photographic: whether the photograph itself is, with what
    may be burned into it. instance_number: None takes the photograph's. predecessor: the object of ours that
    this one succeeds.
    """

    sop_class_uid: UID = SecondaryCaptureImageStorage
    sop_instance_uid: UID
    series_instance_uid: UID
    series_number: int
    series_description: str
    derivation: str
    derivation_codes: Sequence[Code]
    comments: str
    faces: bool = True
    dated: bool = False
    photographic: bool = False
    instance_number: int | None = None
    predecessor: ObjectReference | None = None


def build_derived_image(
    sources: Sequence[Dataset], pixels: NDArray[np.uint8], described: ImageDescription, created: datetime
) -> FileDataset:
    """Return the image derived from the photographs `sources`, of which the first gives patient and study.

    sources: headers are enough. pixels: (rows, columns, 3) uint8, RGB in sRGB. Equal arguments give equal
    bytes. Raises ValueError for another shape or type.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"expected uint8 of shape (rows, columns, 3), got {pixels.dtype} {pixels.shape}")
    first = sources[0]
    image = new_object(
        source=first,
        sop_class_uid=described.sop_class_uid,
        sop_instance_uid=described.sop_instance_uid,
        created=created,
    )
    _add_series(image, first, described)
    _add_derivation(image, sources, described)
    _add_general_image(image, first, described, local_time(first, created))
    _add_lossy_history(image, first)
    make_room_for_own_text(image, first)
    _add_pixels(image, pixels)
    return image


def _add_series(image: FileDataset, source: Dataset, described: ImageDescription) -> None:
    """Write the General Series, General Equipment and SC Equipment modules (C.7.3.1, C.7.5.1, C.8.6.1)."""
    image.SeriesInstanceUID = described.series_instance_uid
    image.SeriesNumber = described.series_number
    image.SeriesDescription = described.series_description
    image.Modality = "XC" if described.faces else "OT"
    image.BodyPartExamined = "FACE"  # not a paired part: Laterality stays absent
    add_equipment(image)
    if described.sop_class_uid == SecondaryCaptureImageStorage:
        image.ConversionType = "SYN"
        image.SecondaryCaptureDeviceManufacturer = MANUFACTURER
        image.SecondaryCaptureDeviceSoftwareVersions = SOFTWARE_VERSION
    if described.faces and (maker := copied(source, "Manufacturer")):
        camera = Dataset()
        camera.add(maker)
        if model := copied(source, "ManufacturerModelName"):
            camera.add(model)
        camera.PurposeOfReferenceCodeSequence = [codes.code_item(codes.ACQUISITION_EQUIPMENT)]
        image.ContributingEquipmentSequence = [camera]


def _add_derivation(image: FileDataset, sources: Sequence[Dataset], described: ImageDescription) -> None:
    """Say what the picture is made from, how, and what it is worth (C.7.6.1, C.12.4)."""
    image.SourceImageSequence = [_source_item(source) for source in sources]
    image.DerivationDescription = described.derivation
    image.DerivationCodeSequence = [codes.code_item(code) for code in described.derivation_codes]
    image.ImageComments = described.comments
    add_predecessor(image, described.predecessor)
    codes.add_coding_scheme(image)


def add_predecessor(target: Dataset, predecessor: ObjectReference | None) -> None:
    """Name the object that `target` succeeds (Referenced Instance Sequence, PS3.3 C.12.4)."""
    if predecessor is None:
        return
    item = Dataset()
    item.ReferencedSOPClassUID = predecessor.sop_class_uid
    item.ReferencedSOPInstanceUID = predecessor.sop_instance_uid
    item.PurposeOfReferenceCodeSequence = [codes.code_item(codes.PREDECESSOR)]
    target.ReferencedInstanceSequence = [item]


def _source_item(source: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    reference.PurposeOfReferenceCodeSequence = [codes.code_item(codes.SOURCE_IMAGE)]
    return reference


def _add_general_image(
    image: FileDataset, source: Dataset, described: ImageDescription, local: datetime
) -> None:
    """Write the General Image module and what the class adds to it (C.7.6.1, C.8.6.2, C.8.12.1, C.7.6.14)."""
    image.ImageType = ["DERIVED", "SECONDARY"]
    number = described.instance_number
    image.InstanceNumber = whole_number(source, "InstanceNumber", default=1) if number is None else number
    image.PatientOrientation = ""
    image.ContentDate = f"{local:%Y%m%d}"
    image.ContentTime = f"{local:%H%M%S.%f}"
    if described.sop_class_uid == SecondaryCaptureImageStorage:
        image.DateOfSecondaryCapture, image.TimeOfSecondaryCapture = image.ContentDate, image.ContentTime
    else:
        image.AcquisitionContextSequence = []
    if burned_in := _burned_in(source, described):
        image.BurnedInAnnotation = burned_in
    image.RecognizableVisualFeatures = "YES" if described.faces else "NO"


def _burned_in(source: Dataset, described: ImageDescription) -> str:
    """Return YES or NO, '' where the photograph does not say what is burned into it."""
    if described.dated:
        return "YES"
    said = str(readable(source, "BurnedInAnnotation") or "").strip() if described.photographic else "NO"
    return said if said in ("YES", "NO") else ""


def _add_lossy_history(image: FileDataset, source: Dataset) -> None:
    """Carry Lossy Image Compression: what was lost once stays lost (C.7.6.1.1.5)."""
    declared = str(readable(source, "LossyImageCompression") or "")
    syntax = getattr(getattr(source, "file_meta", None), "TransferSyntaxUID", None)
    method = _LOSSY_METHODS.get(UID(str(syntax))) if syntax else None
    ratio, told = (copied(source, f"LossyImageCompression{of}") for of in ("Ratio", "Method"))
    # A ratio or a method without the flag, as after a careless decompression, says that there was a loss.
    if declared == "01" or (declared != "00" and (method or ratio or told)):
        image.LossyImageCompression = "01"
        if ratio:
            image.add(ratio)
        if told:
            image.add(told)
        elif method:
            image.LossyImageCompressionMethod = method
    elif declared == "00" or image.SOPClassUID != SecondaryCaptureImageStorage:
        image.LossyImageCompression = "00"


def _add_pixels(image: FileDataset, pixels: NDArray[np.uint8]) -> None:
    """Write the Image Pixel and ICC Profile modules (C.7.6.3, C.11.15)."""
    image.SamplesPerPixel = 3
    image.PhotometricInterpretation = "RGB"
    image.PlanarConfiguration = 0
    image.Rows, image.Columns = int(pixels.shape[0]), int(pixels.shape[1])
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit = 7
    image.PixelRepresentation = 0
    image.ICCProfile = srgb_profile()
    image.ColorSpace = "SRGB"
    content = np.ascontiguousarray(pixels).tobytes()
    image.PixelData = content + b"\x00" * (len(content) % 2)


def srgb_profile() -> bytes:
    """Return an sRGB ICC profile, the same bytes every time (even length)."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # Bytes 24 to 35 hold when it was made (ICC.1, 7.2.8): a fixed day, so that equal input gives equal bytes.
    profile[24:36] = b"".join(part.to_bytes(2, "big") for part in (2024, 1, 1, 0, 0, 0))
    return bytes(profile) + b"\x00" * (len(profile) % 2)
