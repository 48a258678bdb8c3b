"""The normalized photograph as a Secondary Capture Image (PS3.3 A.8.1)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    SecondaryCaptureImageStorage,
)

from pipeline.result import Provenance, Score
from reports import codes
from reports.equipment import MANUFACTURER, SOFTWARE_VERSION, add_equipment
from reports.header import readable, whole_number
from reports.notices import RESEARCH_USE_NOTICE, regressor_nature
from reports.patient_study import local_time, new_object
from reports.uids import derive_uid

SERIES_NUMBER: Final = 9001
SERIES_DESCRIPTION: Final = "Normalized face (generated, research use)"

# Transfer syntaxes that lose information -> Lossy Image Compression Method (PS3.3 C.7.6.1.1.5.1).
_LOSSY_METHODS: Final = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000: "ISO_15444_1",
    HTJ2K: "ISO_15444_15",
}


def build_normalized_photograph(
    source: Dataset, normalized: NDArray[np.uint8], score: Score, created: datetime
) -> FileDataset:
    """Return the Secondary Capture of `normalized`, derived from the photograph `source`.

    source: the photograph; its header is enough. normalized: (rows, columns, 3) uint8, RGB in sRGB.
    Equal arguments give equal bytes, and the UIDs depend on the photograph and on the provenance alone,
    so keep the finished object and resend those bytes. Raises ValueError for another shape or type.
    """
    if normalized.dtype != np.uint8 or normalized.ndim != 3 or normalized.shape[2] != 3:
        raise ValueError(
            f"expected uint8 of shape (rows, columns, 3), got {normalized.dtype} {normalized.shape}"
        )
    setup = score.provenance.digest()
    image = new_object(
        source=source,
        sop_class_uid=SecondaryCaptureImageStorage,
        sop_instance_uid=derive_uid(
            "normalized_photograph", source_uids=[source.SOPInstanceUID], scoring_ids=[setup]
        ),
        created=created,
    )
    _add_series(image, source, setup)
    _add_derivation(image, source, score.provenance)
    _add_general_image(image, source, local_time(source, created))
    _add_lossy_history(image, source)
    _add_pixels(image, normalized)
    return image


def _add_series(image: FileDataset, source: Dataset, setup: str) -> None:
    """Write the General Series, General Equipment and SC Equipment modules (C.7.3.1, C.7.5.1, C.8.6.1)."""
    # Every photograph of a study normalized under one setup goes into one series.
    image.SeriesInstanceUID = derive_uid(
        "normalized_photograph_series", source_uids=[source.StudyInstanceUID], scoring_ids=[setup]
    )
    image.SeriesNumber = SERIES_NUMBER
    image.SeriesDescription = SERIES_DESCRIPTION
    image.Modality = "XC"
    image.BodyPartExamined = "FACE"  # not a paired part: Laterality stays absent
    add_equipment(image)
    image.ConversionType = "SYN"
    image.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    image.SecondaryCaptureDeviceSoftwareVersions = SOFTWARE_VERSION
    if maker := readable(source, "Manufacturer"):
        camera = Dataset()
        camera.Manufacturer = maker
        if model := readable(source, "ManufacturerModelName"):
            camera.ManufacturerModelName = model
        camera.PurposeOfReferenceCodeSequence = [codes.code_item(codes.ACQUISITION_EQUIPMENT)]
        image.ContributingEquipmentSequence = [camera]


def _add_derivation(image: FileDataset, source: Dataset, provenance: Provenance) -> None:
    """Say what the picture is made from, how, and what it is worth (C.7.6.1, C.12.4)."""
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    reference.PurposeOfReferenceCodeSequence = [codes.code_item(codes.SOURCE_IMAGE)]
    image.SourceImageSequence = [reference]
    image.DerivationDescription = (
        "Face aligned, cropped and drawn anew by a generative model as it would look without its anomaly. "
        f"Generator {provenance.generator}, profile {provenance.profile}, seed {provenance.seed}."
    )
    image.DerivationCodeSequence = [
        codes.code_item(codes.SPATIAL_RESAMPLING),
        codes.code_item(codes.GENERATIVE_NORMALIZATION),
    ]
    image.ImageComments = " ".join([RESEARCH_USE_NOTICE, "Generated picture.", regressor_nature(provenance)])
    codes.add_coding_scheme(image)


def _add_general_image(image: FileDataset, source: Dataset, local: datetime) -> None:
    """Write the General Image and SC Image modules (C.7.6.1, C.8.6.2)."""
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.InstanceNumber = whole_number(source, "InstanceNumber", default=1)
    image.PatientOrientation = ""
    image.ContentDate = image.DateOfSecondaryCapture = f"{local:%Y%m%d}"
    image.ContentTime = image.TimeOfSecondaryCapture = f"{local:%H%M%S.%f}"
    image.BurnedInAnnotation = "NO"
    image.RecognizableVisualFeatures = "YES"


def _add_lossy_history(image: FileDataset, source: Dataset) -> None:
    """Carry Lossy Image Compression: what was lost once stays lost (C.7.6.1.1.5)."""
    declared = str(readable(source, "LossyImageCompression") or "")
    syntax = getattr(getattr(source, "file_meta", None), "TransferSyntaxUID", None)
    method = _LOSSY_METHODS.get(UID(str(syntax))) if syntax else None
    if declared == "01" or (method is not None and declared != "00"):
        image.LossyImageCompression = "01"
        if ratio := readable(source, "LossyImageCompressionRatio"):
            image.LossyImageCompressionRatio = ratio
        if method := readable(source, "LossyImageCompressionMethod") or method:
            image.LossyImageCompressionMethod = method
    elif declared == "00":
        image.LossyImageCompression = "00"


def _add_pixels(image: FileDataset, normalized: NDArray[np.uint8]) -> None:
    """Write the Image Pixel and ICC Profile modules (C.7.6.3, C.11.15)."""
    image.SamplesPerPixel = 3
    image.PhotometricInterpretation = "RGB"
    image.PlanarConfiguration = 0
    image.Rows, image.Columns = int(normalized.shape[0]), int(normalized.shape[1])
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit = 7
    image.PixelRepresentation = 0
    image.ICCProfile = srgb_profile()
    image.ColorSpace = "SRGB"
    content = np.ascontiguousarray(normalized).tobytes()
    image.PixelData = content + b"\x00" * (len(content) % 2)


def srgb_profile() -> bytes:
    """Return an sRGB ICC profile, the same bytes every time (even length)."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # Bytes 24 to 35 hold when it was made (ICC.1, 7.2.8): a fixed day, so that equal input gives equal bytes.
    profile[24:36] = b"".join(part.to_bytes(2, "big") for part in (2024, 1, 1, 0, 0, 0))
    return bytes(profile) + b"\x00" * (len(profile) % 2)
