"""The demo's photographs: VL Photographic Images (PS3.3 A.32.4) with JPEG baseline, as cameras send them."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sr.codedict import codes
from pydicom.uid import JPEGBaseline8Bit, VLPhotographicImageStorage, generate_uid

PATIENT_NAME: Final = "TEST^PATIENT"
PATIENT_ID: Final = "FACENORM-TEST-1"
_JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True)
class Encounter:
    """One visit of the test patient. study_date: YYYYMMDD. rgb: uint8 (rows, columns, 3)."""

    title: str
    study_date: str
    rgb: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph on its way: what it is called, where its file lies."""

    title: str
    study_date: str
    sop_instance_uid: str
    path: Path

    @property
    def date(self) -> str:
        """The study date as people write it, YYYY-MM-DD."""
        return f"{self.study_date[:4]}-{self.study_date[4:6]}-{self.study_date[6:]}"


def write_photograph(folder: Path, encounter: Encounter, number: int) -> Photograph:
    """Write the photograph of an encounter, a study of its own, into `folder`; its UIDs are new.

    number: of the encounter, from 1.
    """
    image = _image(encounter, number)
    path = folder / f"{image.SOPInstanceUID}.dcm"
    image.save_as(path, enforce_file_format=True)
    return Photograph(encounter.title, encounter.study_date, str(image.SOPInstanceUID), path)


def _image(encounter: Encounter, number: int) -> FileDataset:
    image = FileDataset(None, {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())  # type: ignore[arg-type]
    image.SOPClassUID = VLPhotographicImageStorage
    image.SOPInstanceUID = generate_uid(prefix=None)
    image.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    _add_patient_and_study(image, encounter, number)
    image.SeriesInstanceUID = generate_uid(prefix=None)
    image.Modality, image.SeriesNumber, image.InstanceNumber = "XC", 1, 1
    image.SeriesDescription = "Face (generated, of nobody)"
    image.BodyPartExamined = "FACE"  # not a paired part: Laterality stays absent
    image.Manufacturer = "facenorm demo camera"
    image.ImageType = ["ORIGINAL", "PRIMARY"]
    image.ContentDate, image.ContentTime = encounter.study_date, "100000"
    image.AcquisitionDateTime = f"{encounter.study_date}100000"
    image.AcquisitionContextSequence = []
    image.AnatomicRegionSequence = [_coded(codes.SCT.Face)]
    image.PatientOrientation = ["L", "F"]
    image.BurnedInAnnotation, image.RecognizableVisualFeatures = "NO", "YES"
    _add_pixels(image, encounter.rgb)
    return image


def _add_patient_and_study(image: Dataset, encounter: Encounter, number: int) -> None:
    image.PatientName, image.PatientID = PATIENT_NAME, PATIENT_ID
    image.PatientBirthDate, image.PatientSex = "", ""
    image.StudyInstanceUID = generate_uid(prefix=None)
    image.StudyDate, image.StudyTime = encounter.study_date, "100000"
    image.StudyID, image.AccessionNumber = str(number), ""
    image.ReferringPhysicianName = ""
    image.StudyDescription = "facenorm demo"


def _add_pixels(image: Dataset, rgb: NDArray[np.uint8]) -> None:
    """Write the Image Pixel module with one JPEG frame (PS3.5 A.4.1), and what was lost (C.7.6.1.1.5)."""
    stream = BytesIO()
    Image.fromarray(rgb).save(stream, format="JPEG", quality=_JPEG_QUALITY, subsampling="4:2:2")
    image.Rows, image.Columns = rgb.shape[:2]
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "YBR_FULL_422", 0
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    image.LossyImageCompression, image.LossyImageCompressionMethod = "01", "ISO_10918_1"
    image.LossyImageCompressionRatio = f"{rgb.nbytes / len(stream.getvalue()):.2f}"
    image.PixelData = encapsulate([stream.getvalue()])
    image["PixelData"].is_undefined_length = True


def _coded(code: object) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator  # type: ignore[attr-defined]
    item.CodeMeaning = code.meaning  # type: ignore[attr-defined]
    return item
