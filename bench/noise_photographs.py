"""Camera photographs for the network part of the bench: noise-textured JPEG, 2 to 10 MB, in DICOM.

No face is in them. JPEG baseline at a camera's quality, as VL Photographic Image Storage of test patients.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import JPEGBaseline8Bit, VLPhotographicImageStorage, generate_uid

LEAST_BYTES, MOST_BYTES = 2_000_000, 10_000_000
_BYTES_PER_PIXEL = 0.83
"""Of the texture below; the size of the picture is chosen with it."""
_JPEG_QUALITY = 95
_DIFFERENT_PICTURES = 8


def write_photographs(folder: Path, count: int, studies: int, seed: int = 1) -> list[Path]:
    """Write `count` DICOM files of 2 to 10 MB, spread evenly over `studies`; return their paths.

    Sizes are drawn evenly from that range. The same seed gives the same pictures, a few of which take turns;
    UIDs are new each time, so no two files are the same.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [generate_uid() for _ in range(studies)]
    # One from each part of the range, shuffled: a few files then represent it as well as many.
    shares = random.permutation((np.arange(_DIFFERENT_PICTURES) + random.uniform()) / _DIFFERENT_PICTURES)
    sizes = LEAST_BYTES + shares * (MOST_BYTES - LEAST_BYTES)
    pictures = [textured(random, int(size / _BYTES_PER_PIXEL)) for size in sizes[:count]]
    encoded = [(picture.shape[:2], jpeg(picture)) for picture in pictures]
    paths = []
    for number in range(count):
        (rows, columns), stream = encoded[number % len(encoded)]
        path = folder / f"{number:04d}.dcm"
        study = number % studies
        path.write_bytes(dicom_file(stream, rows, columns, chosen[study], f"TEST-{study:04d}"))
        paths.append(path)
    return paths


def textured(random: np.random.Generator, pixels: int) -> NDArray[np.uint8]:
    """Return a picture of about `pixels` in a camera's 4:3, uint8 RGB (rows, columns, 3)."""
    rows = int((pixels * 3 / 4) ** 0.5)
    columns = rows * 4 // 3
    coarse = random.uniform(40, 215, (12, 16, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
    noisy = smooth + 40 * random.standard_normal((rows, columns, 1), np.float32)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Return `picture`, uint8 RGB, as a JPEG baseline stream."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, stream = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)
    return stream.tobytes()


def dicom_file(stream: bytes, rows: int, columns: int, study: str, patient: str, uid: str = "") -> bytes:
    """Return a PS3.10 file of a VL Photographic Image that holds a JPEG baseline stream."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = VLPhotographicImageStorage, uid or generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, generate_uid()
    dataset.PatientName, dataset.PatientID = "TEST^PATIENT", patient
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20260102", "120000", "1"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "TEST-ACC", ""
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "XC", 1, 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 3
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "YBR_FULL_422", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.LossyImageCompression = "01"
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()
