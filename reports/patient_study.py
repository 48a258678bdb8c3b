"""The patient and the study of a result: copied from the photograph, character set included."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Final

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from reports.character_set import UTF_8, character_set_for, declared_character_set, is_ascii
from reports.equipment import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from reports.header import copied, readable

# Type 2 in the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): present even when empty.
_ALWAYS: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
# Type 1C and 3 in these modules and in Patient Study (C.7.2.2): copied where the photograph has them.
_WHERE_PRESENT: Final = (
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "PatientBirthTime",
    "EthnicGroup",
    "QualityControlSubject",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyDescription",
    "ProcedureCodeSequence",
    "IssuerOfAccessionNumberSequence",
    "PhysiciansOfRecord",
    "ReferencedStudySequence",
    "AdmittingDiagnosesDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "ServiceEpisodeID",
    "TimezoneOffsetFromUTC",
)
# From -1200 to +1400 (PS3.3 C.12.1.1.8).
_OFFSET: Final = re.compile(r"\+(0[0-9]|1[0-3])[0-5][0-9]|\+1400|-(0[0-9]|1[01])[0-5][0-9]|-1200")


def new_object(
    *, source: Dataset, sop_class_uid: UID, sop_instance_uid: UID, created: datetime
) -> FileDataset:
    """Return an object of the photograph's patient and study, without series or content yet.

    Written as explicit VR little endian. `created` becomes the instance creation date and time, in the
    photograph's time zone where it names one, else in this machine's; a naive `created` is taken as it is.
    Raises ValueError when `source` names no study.
    """
    if not source.get("StudyInstanceUID"):
        raise ValueError("the photograph has no Study Instance UID")
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = sop_class_uid
    meta.MediaStorageSOPInstanceUID = sop_instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    target = FileDataset("", _patient_and_study(source), file_meta=meta, preamble=b"\x00" * 128)
    target.SOPClassUID = sop_class_uid
    target.SOPInstanceUID = sop_instance_uid
    target.StudyInstanceUID = source.StudyInstanceUID
    local = local_time(source, created)
    target.InstanceCreationDate = f"{local:%Y%m%d}"
    target.InstanceCreationTime = f"{local:%H%M%S.%f}"
    return target


def make_room_for_own_text(target: Dataset, source: Dataset) -> None:
    """Let the character set of `target`, from `new_object`, hold what was written into it since.

    A site names its regressor and generator as it likes. Where the photograph declares no set and has other
    bytes than ASCII, nobody knows what these are: then none is declared, whatever becomes of our text.
    """
    declared = declared_character_set(target)
    chosen = character_set_for(target, declared)
    if not any(declared) and not is_ascii(target) and is_ascii(_copied_modules(source)):
        chosen = [UTF_8]
    if chosen != declared:
        target.SpecificCharacterSet = chosen


def local_time(source: Dataset, created: datetime) -> datetime:
    """Return `created` on the clock that the photograph's dates and times are written in."""
    if created.tzinfo is None:
        return created
    return created.astimezone(_offset(source))


def _offset(source: Dataset) -> timezone | None:
    """Return the time zone that the photograph names, None where it names none that there is."""
    offset = str(readable(source, "TimezoneOffsetFromUTC") or "").strip(" \0")
    if not _OFFSET.fullmatch(offset):
        return None
    sign = -1 if offset[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:])))


def _patient_and_study(source: Dataset) -> Dataset:
    """Return a copy of the photograph's modules with the character set that they are to be written in."""
    modules = _copied_modules(source)
    character_set = character_set_for(modules, declared_character_set(source))
    if character_set:
        modules.SpecificCharacterSet = character_set
    return modules


def _copied_modules(source: Dataset) -> Dataset:
    modules = Dataset()
    for keyword in (*_ALWAYS, *_WHERE_PRESENT):
        if (element := copied(source, keyword)) is not None:
            modules.add(element)
        elif keyword in _ALWAYS:
            setattr(modules, keyword, "")
    if _offset(source) is None and "TimezoneOffsetFromUTC" in modules:
        del modules.TimezoneOffsetFromUTC
    return modules
