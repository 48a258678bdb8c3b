"""Earlier photographs of a patient: found and asked for at the archive (PS3.4 annex C, Study Root, SCU).

What is moved arrives at the receiver like everything else, and is checked there like everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, VLPhotographicImageStorage
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from dicom_node.caller import Caller, Peer
from dicom_node.received_dataset import is_uid

_PHOTOGRAPHS: Final = (VLPhotographicImageStorage, SecondaryCaptureImageStorage)
_PENDING: Final = (0xFF00, 0xFF01)
# What would match more than one value (PS3.4 C.2.2.2.4), or be taken for several.
_NOT_IN_AN_IDENTIFIER: Final = frozenset("*?\\")


class PriorsError(Exception):
    """The archive could not be asked, or did not do it; the text is a class of failure and holds no data."""


@dataclass(frozen=True, slots=True)
class PriorSeries:
    """A series at the archive, with the photographs in it that the node does not have."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorsScu:
    """Asks one archive. caller: opens the association. destination: our own AE title, to be moved to."""

    caller: Caller
    archive: Peer
    destination: str
    modalities: tuple[str, ...]
    most_studies: int

    def fetch(self, patient_id: str, issuer: str, *, before: str, known_studies: Sequence[str]) -> int:
        """Have every earlier photograph of the patient moved to us; return how many were asked for.

        before: no study dated after this day (YYYYMMDD) is taken. known_studies: what the node has already.
        An identifier with wildcards is never asked for: it would match other patients.

        Raises:
            PriorsError: no association, a refusal, or a move that failed in part.

        """
        if not patient_id or _NOT_IN_AN_IDENTIFIER & set(patient_id + issuer):
            return 0
        association = self._associate()
        try:
            found = [
                series
                for study in self._studies(association, patient_id, issuer, before, known_studies)
                for series in self._series(association, study)
            ]
            for series in found:
                self._move(association, series)
        finally:
            self.caller.release(association)
        return sum(len(series.sop_instance_uids) for series in found)

    def _associate(self) -> Association:
        contexts = [
            (StudyRootQueryRetrieveInformationModelFind, None),
            (StudyRootQueryRetrieveInformationModelMove, None),
        ]
        try:
            association = self.caller.associate(self.archive, contexts)
        except (OSError, ValueError) as error:
            raise PriorsError(f"no association ({type(error).__name__})") from None
        if not association.is_established:
            raise PriorsError("no association")
        return association

    def _studies(
        self, association: Association, patient_id: str, issuer: str, before: str, known: Sequence[str]
    ) -> list[str]:
        """Return the patient's unknown studies, at most `most_studies`, the newest."""
        wanted = {"PatientID": patient_id, "IssuerOfPatientID": issuer, "StudyDate": f"-{before}"}
        answers = self._find(association, "STUDY", wanted | {"StudyInstanceUID": "", "ModalitiesInStudy": ""})
        dated = sorted(
            (str(answer.get("StudyDate") or ""), str(answer.StudyInstanceUID))
            for answer in answers
            if str(answer.get("PatientID") or "").strip() == patient_id
            and str(answer.get("IssuerOfPatientID") or issuer).strip() == issuer
        )
        new = [uid for date, uid in dated if uid not in known and is_uid(uid) and date and date <= before]
        return new[-self.most_studies :]

    def _series(self, association: Association, study: str) -> Iterator[PriorSeries]:
        for series in self._find(
            association, "SERIES", {"StudyInstanceUID": study, "SeriesInstanceUID": "", "Modality": ""}
        ):
            if str(series.get("Modality") or "") not in self.modalities:
                continue
            wanted = {
                "StudyInstanceUID": study,
                "SeriesInstanceUID": str(series.SeriesInstanceUID),
                "SOPInstanceUID": "",
                "SOPClassUID": "",
            }
            images = [
                str(image.SOPInstanceUID)
                for image in self._find(association, "IMAGE", wanted)
                if str(image.get("SOPClassUID") or "") in _PHOTOGRAPHS
            ]
            if images:
                yield PriorSeries(study, str(series.SeriesInstanceUID), tuple(images))

    def _find(self, association: Association, level: str, keys: Mapping[str, str]) -> list[Dataset]:
        query = Dataset()
        query.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(query, keyword, value)
        if not all(value.isascii() for value in keys.values()):
            query.SpecificCharacterSet = "ISO_IR 192"
        answers = []
        for status, identifier in association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
            code = status.get("Status")
            if code in _PENDING and identifier is not None:
                answers.append(identifier)
            elif code not in (0x0000, *_PENDING):
                raise PriorsError("find failed" if code is None else f"find failed ({code:04X})")
        return answers

    def _move(self, association: Association, series: PriorSeries) -> None:
        query = Dataset()
        query.QueryRetrieveLevel = "IMAGE"
        query.StudyInstanceUID = series.study_instance_uid
        query.SeriesInstanceUID = series.series_instance_uid
        query.SOPInstanceUID = list(series.sop_instance_uids)
        answers = association.send_c_move(query, self.destination, StudyRootQueryRetrieveInformationModelMove)
        for status, _ in answers:
            code = status.get("Status")
            if code not in (0x0000, *_PENDING):
                raise PriorsError("move failed" if code is None else f"move failed ({code:04X})")
