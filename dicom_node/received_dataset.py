"""Read the identifying attributes of a received dataset, trusting nothing in it."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from reports.character_set import without_escapes
from reports.equipment import is_ours
from storage.intake import Received

# PS3.5 section 9.1: components without leading zeros, at most 64 characters.
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*", re.ASCII)
# PS3.5 section 6.2: minutes and seconds may be left out.
_TIME = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9]|60)?)?(?:(?<=[0-9]{6})\.[0-9]{1,6})?", re.ASCII)
_DATE = re.compile(r"[0-9]{8}", re.ASCII)
# What pydicom puts in place of bytes that are none of the declared character set.
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_INFLATED_LIMIT = 1 << 28
_TAGS = [
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyDate",
    "StudyTime",
    "AdmissionID",
    "AccessionNumber",
    "Manufacturer",
    "ManufacturerModelName",
    "PatientID",
    "IssuerOfPatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
]


class UnusableDatasetError(Exception):
    """A dataset that cannot be parsed or does not say what it is. The text holds no values."""


@dataclass(frozen=True, slots=True)
class Identification:
    """What a dataset says about itself, stripped of padding. Absent optional values are ''."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str
    issuer_of_patient_id: str
    study_date: str
    accession_number: str
    is_own_result: bool
    study_time: str = ""
    admission_id: str = ""


def as_received(
    found: Identification,
    *,
    transfer_syntax_uid: str,
    calling_ae_title: str,
    peer_address: str,
    received_at: datetime,
) -> Received:
    """Return what is recorded of a photograph that says this of itself, and who sent it."""
    return Received(
        patient_id=found.patient_id,
        issuer_of_patient_id=found.issuer_of_patient_id,
        study_instance_uid=found.study_instance_uid,
        study_date=found.study_date,
        study_time=found.study_time,
        accession_number=found.accession_number,
        admission_id=found.admission_id,
        series_instance_uid=found.series_instance_uid,
        sop_class_uid=found.sop_class_uid,
        sop_instance_uid=found.sop_instance_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        calling_ae_title=calling_ae_title,
        peer_address=peer_address,
        received_at=received_at,
    )


def is_uid(value: str) -> bool:
    """Whether `value` is a valid UID (PS3.5 section 9.1)."""
    return len(value) <= 64 and _UID.fullmatch(value) is not None


def identify(file: bytes, transfer_syntax_uid: str) -> Identification:
    """Return the identification of `file`, a whole DICOM file (PS3.10), without decoding pixels.

    Raises:
        UnusableDatasetError: it cannot be parsed, or a required identifier is missing or malformed.

    """
    try:
        if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            _refuse_bomb(file)
        dataset = dcmread(BytesIO(file), stop_before_pixels=True, specific_tags=_TAGS)
        return Identification(
            sop_class_uid=_uid(dataset, "SOPClassUID"),
            sop_instance_uid=_uid(dataset, "SOPInstanceUID"),
            study_instance_uid=_uid(dataset, "StudyInstanceUID"),
            series_instance_uid=_uid(dataset, "SeriesInstanceUID"),
            patient_id=_required(dataset, "PatientID"),
            issuer_of_patient_id=_identifier(dataset, "IssuerOfPatientID"),
            study_date=_date(dataset),
            accession_number=_number(dataset, "AccessionNumber"),
            is_own_result=is_ours(dataset),
            study_time=_time(dataset),
            admission_id=_number(dataset, "AdmissionID"),
        )
    except UnusableDatasetError:
        raise
    except Exception as error:
        # A hostile dataset can raise nearly anything in a parser; its text may quote the dataset.
        raise UnusableDatasetError(f"the dataset cannot be parsed ({type(error).__name__})") from None


def _uid(dataset: Dataset, keyword: str) -> str:
    value = str(dataset.get(keyword) or "").strip(" \0")
    if not is_uid(value):
        raise UnusableDatasetError(f"{keyword} is missing or malformed")
    return value


def _required(dataset: Dataset, keyword: str) -> str:
    value = _identifier(dataset, keyword)
    if not value:
        raise UnusableDatasetError(f"{keyword} is missing")
    return value


def _identifier(dataset: Dataset, keyword: str) -> str:
    value = _text(dataset, keyword)
    # Every such byte looks alike, which would make two patients one.
    if _REPLACEMENT in value:
        raise UnusableDatasetError(f"{keyword} is not in the declared character set")
    return value


def _number(dataset: Dataset, keyword: str) -> str:
    value = _text(dataset, keyword)
    return "" if _REPLACEMENT in value else value


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UnusableDatasetError(f"{keyword} has several values")
    text = without_escapes(value).strip(" \0")
    # Cutting an identifier could make two patients one.
    if len(text) > 64 or not text.isprintable():
        raise UnusableDatasetError(f"{keyword} is too long or has control characters")
    return text


def _date(dataset: Dataset) -> str:
    value = str(dataset.get("StudyDate") or "").strip()
    return value if _DATE.fullmatch(value) else ""


def _time(dataset: Dataset) -> str:
    value = str(dataset.get("StudyTime") or "").strip()
    return value[:6].ljust(6, "0") if _TIME.fullmatch(value) else ""


def _refuse_bomb(file: bytes) -> None:
    # The file meta group is not deflated; its length is the value of its first element.
    start = 144 + int.from_bytes(file[140:144], "little")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = 0
    pending = file[start:]
    while pending and not inflater.eof:
        inflated += len(inflater.decompress(pending, 1 << 20))
        pending = inflater.unconsumed_tail
        if inflated > _INFLATED_LIMIT:
            raise UnusableDatasetError("the deflated dataset is too large")
