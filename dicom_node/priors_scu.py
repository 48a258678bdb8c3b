"""Earlier photographs of a patient: found and asked for at the archive (PS3.4 annex C, Study Root, SCU).

What is moved arrives at the receiver like everything else, and is checked there like everything else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
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

_FIND: Final = StudyRootQueryRetrieveInformationModelFind
_MOVE: Final = StudyRootQueryRetrieveInformationModelMove
_PHOTOGRAPHS: Final = (VLPhotographicImageStorage, SecondaryCaptureImageStorage)
_PENDING: Final = (0xFF00, 0xFF01)
# An archive may bring photographs back from a slow place first, and need tell nothing meanwhile.
_MOVE_SECONDS: Final = 600.0
# More than any patient has studies, or any series photographs: who goes on would fill the memory.
_MOST_ANSWERS: Final = 10_000
# What would match more than one value (PS3.4 C.2.2.2.4), or be taken for several.
_NOT_IN_AN_IDENTIFIER: Final = frozenset("*?\\")

# A status, and what came with it.
_Answer = tuple[Dataset, Dataset | None]


class PriorsError(Exception):
    """The archive did not do it; the text is one word, a class of failure, and holds no data."""


class UnusableArchiveError(PriorsError):
    """No association with what is needed is to be had: nor would one be for another patient."""


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

    def fetch(
        self, patient_id: str, issuer: str, *, before: str, apart_from: str, known: Collection[str]
    ) -> int:
        """Have every earlier photograph of the patient moved to us; return how many were asked for.

        before: no study dated after this day (YYYYMMDD) is taken. apart_from: UID of the study that its
        sender sends by itself, perhaps just now. known: SOP Instance UIDs of what the node has already; of a
        study whose move broke off, only the rest is asked for. An identifier with wildcards is never asked
        for: it would match other patients.

        Raises:
            UnusableArchiveError: it is away, or does not let us ask and move.
            PriorsError: it refused, what it answers cannot be used, or a series was not moved, or in part.

        """
        if not patient_id or _NOT_IN_AN_IDENTIFIER & set(patient_id + issuer):
            return 0
        association = self._associate()
        try:
            missing = [
                series
                for study in self._studies(association, patient_id, issuer, before, apart_from)
                for series in self._series(association, study, known)
            ]
            self._move_all(association, missing)
        except (RuntimeError, ValueError) as error:
            # So pynetdicom tells of an association that is lost, and of a query that cannot be encoded.
            raise PriorsError(f"failed_{type(error).__name__}") from None
        finally:
            self.caller.release(association)
        return sum(len(series.sop_instance_uids) for series in missing)

    def _associate(self) -> Association:
        try:
            association = self.caller.associate(self.archive, [(_FIND, None), (_MOVE, None)])
        except (OSError, ValueError) as error:
            raise UnusableArchiveError(f"no_association_{type(error).__name__}") from None
        if not association.is_established:
            raise UnusableArchiveError("no_association")
        accepted = {context.abstract_syntax for context in association.accepted_contexts}
        for model, service in ((_FIND, "find"), (_MOVE, "move")):
            if model not in accepted:
                self.caller.release(association)
                raise UnusableArchiveError(f"{service}_not_accepted")
        return association

    def _studies(
        self, association: Association, patient_id: str, issuer: str, before: str, apart_from: str
    ) -> list[str]:
        """Return the patient's other studies with photographs, at most `most_studies`, the newest."""
        wanted = {"PatientID": patient_id, "IssuerOfPatientID": issuer, "StudyDate": f"-{before}"}
        answers = self._find(association, "STUDY", wanted | {"StudyInstanceUID": "", "ModalitiesInStudy": ""})
        dates = {  # by study: an archive that gathers from several answers more than once
            _uid(answer, "StudyInstanceUID"): answer["StudyDate"]
            for answer in answers
            if answer["PatientID"] == patient_id and (answer["IssuerOfPatientID"] or issuer) == issuer
            if self._may_have_photographs(answer["ModalitiesInStudy"])
        }
        dated = sorted((date, uid) for uid, date in dates.items())
        others = [uid for date, uid in dated if uid != apart_from and is_uid(uid) and date and date <= before]
        return others[-self.most_studies :]

    def _may_have_photographs(self, modalities: str) -> bool:
        # Not every archive tells them; of the others, scans of later years would take all the places.
        return not modalities or any(modality in modalities for modality in self.modalities)

    def _series(self, association: Association, study: str, known: Collection[str]) -> Iterator[PriorSeries]:
        answers = self._find(
            association, "SERIES", {"StudyInstanceUID": study, "SeriesInstanceUID": "", "Modality": ""}
        )
        chosen = [_uid(one, "SeriesInstanceUID") for one in answers if one["Modality"] in self.modalities]
        for series_uid in dict.fromkeys(chosen):
            wanted = {
                "StudyInstanceUID": study,
                "SeriesInstanceUID": series_uid,
                "SOPInstanceUID": "",
                "SOPClassUID": "",
            }
            images = dict.fromkeys(
                uid
                for image in self._find(association, "IMAGE", wanted)
                if image["SOPClassUID"] in _PHOTOGRAPHS
                and (uid := _uid(image, "SOPInstanceUID")) not in known
            )
            if images:
                yield PriorSeries(study, series_uid, tuple(images))

    def _find(self, association: Association, level: str, keys: Mapping[str, str]) -> list[dict[str, str]]:
        """Return the values of `keys` in each answer."""
        query = Dataset()
        query.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(query, keyword, value)
        if not all(value.isascii() for value in keys.values()):
            query.SpecificCharacterSet = "ISO_IR 192"
        answers = _answers("find", association, association.send_c_find(query, _FIND))
        return [_read(answer, keys) for status, answer in answers if status.Status in _PENDING]

    def _move_all(self, association: Association, missing: Iterable[PriorSeries]) -> None:
        """Have every series moved, also after one that failed, whose PriorsError is raised at the end."""
        failures = []
        for series in missing:
            try:
                self._move(association, series)
            except PriorsError as error:
                failures.append(error)
                if not association.is_established:
                    break
        if failures:
            raise failures[0]

    def _move(self, association: Association, series: PriorSeries) -> None:
        query = Dataset()
        query.QueryRetrieveLevel = "IMAGE"
        query.StudyInstanceUID = series.study_instance_uid
        query.SeriesInstanceUID = series.series_instance_uid
        query.SOPInstanceUID = list(series.sop_instance_uids)
        association.dimse_timeout = max(_MOVE_SECONDS, self.caller.response_seconds)
        _answers("move", association, association.send_c_move(query, self.destination, _MOVE))


def _answers(service: str, association: Association, answers: Iterable[_Answer]) -> list[_Answer]:
    """Return all of them, whatever they say: the association is needed again. Raises as `_check`.

    One whose answers have no end is not.
    """
    found = list(islice(answers, _MOST_ANSWERS + 1))
    if len(found) > _MOST_ANSWERS:
        association.abort()
        raise PriorsError(f"{service}_answers_without_end")
    _check(service, [status for status, _ in found])
    return found


def _check(service: str, statuses: Iterable[Dataset]) -> None:
    """Raise PriorsError unless every status is of a success or of more to come."""
    for status in statuses:
        if "Status" not in status:
            raise PriorsError(f"{service}_not_answered")
        if status.Status not in (0x0000, *_PENDING):
            raise PriorsError(f"{service}_failed_{status.Status:04X}")


def _read(answer: Dataset | None, keywords: Iterable[str]) -> dict[str, str]:
    """Return the values, '' for those that there are none of. Raises PriorsError: it cannot be parsed."""
    if answer is None:
        raise PriorsError("unusable_answer")
    try:
        return {keyword: str(answer.get(keyword) or "").strip(" \0") for keyword in keywords}
    except Exception:  # as in `received_dataset`: a parser may raise nearly anything
        raise PriorsError("unusable_answer") from None


def _uid(answer: Mapping[str, str], keyword: str) -> str:
    if not answer[keyword]:
        raise PriorsError(f"answer_without_{keyword}")
    return answer[keyword]
