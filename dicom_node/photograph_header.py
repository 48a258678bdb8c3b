"""The header of a kept photograph, under the patient that its study belongs to now."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset

from reports.character_set import UTF_8, declared_character_set
from reports.header import text_of, trimmed
from storage.tables import Patient

# What tells who a patient is (PS3.3 C.7.1.1); of a merged patient it is taken from a photograph of the other.
_IDENTITY: Final = ("PatientName", "PatientBirthDate", "PatientSex")
_DROPPED: Final = (
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthTime",
)


def read_header(path: Path, patient: Patient, others: Iterable[Path]) -> FileDataset:
    """Return the header of the photograph at `path`, with the identity of `patient` where it names another.

    It does after patients were merged: the file is kept as it came. others: files of the patient, newest
    first; the first that carries the patient's own identifier gives name, birth date and sex. Raises OSError.
    """
    header = dcmread(path, stop_before_pixels=True)
    if _is_of(header, patient):
        return header
    header.PatientID = patient.patient_id
    if patient.issuer_of_patient_id:
        header.IssuerOfPatientID = patient.issuer_of_patient_id
    elif "IssuerOfPatientID" in header:
        del header.IssuerOfPatientID
    for keyword in _DROPPED:
        if keyword in header:
            delattr(header, keyword)
    name = ""
    for other in others:
        found = dcmread(other, stop_before_pixels=True)
        if _is_of(found, patient):
            _take_identity(header, found)
            name = str(header.PatientName)
            break
    _declare(header, (patient.patient_id, patient.issuer_of_patient_id, name))
    return header


def _is_of(header: Dataset, patient: Patient) -> bool:
    identifier, issuer = (trimmed(header, keyword) for keyword in ("PatientID", "IssuerOfPatientID"))
    return (identifier, issuer) == (patient.patient_id, patient.issuer_of_patient_id)


def _take_identity(header: Dataset, found: Dataset) -> None:
    for keyword in _IDENTITY:
        setattr(header, keyword, text_of(found, keyword))


def _declare(header: Dataset, written: Iterable[str]) -> None:
    """Declare UTF-8 where the photograph declares nothing, and what was written into its header needs it."""
    if not any(declared_character_set(header)) and not "".join(written).isascii():
        header.SpecificCharacterSet = UTF_8
