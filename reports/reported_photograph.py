"""What a report is told about one photograph, about earlier encounters, and about the report before it."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from pipeline.encounter_score import Change, EncounterScore, before, change_since
from pipeline.result import Rejection, Score


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """Where an object is found: its class and its place in the study (PS3.3 10.3, 10.8)."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class ReportedPhotograph:
    """A photograph with its result.

    source: the photograph; its header is enough. normalized: the normalized photograph, None for a
    rejection. further: other images of ours that show it. scoring_id: what tells this scoring of the
    photograph from its others, for example the setup's digest; it enters the report's UID.
    """

    source: Dataset
    result: Score | Rejection
    normalized: ObjectReference | None
    scoring_id: str
    further: tuple[ObjectReference, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportedCourse:
    """The encounter's score among the patient's others. history: every encounter, this one included."""

    encounter: EncounterScore
    history: tuple[EncounterScore, ...]

    @property
    def change(self) -> Change | None:
        """What became of the score since the encounter before."""
        return change_since(self.encounter, self.history)

    @property
    def scoring_ids(self) -> list[str]:
        """What names every scoring that is shown: this encounter's and the earlier ones'."""
        return sorted({identifier for one in self.shown for identifier in one.scoring_ids})

    @property
    def shown(self) -> list[EncounterScore]:
        """The earlier encounters, oldest first, and this one."""
        return [*before(self.encounter, self.history), self.encounter]


@dataclass(frozen=True, slots=True)
class PredecessorReport:
    """The report that a new one succeeds (Predecessor Documents Sequence, PS3.3 C.17.2)."""

    study_instance_uid: str
    report: ObjectReference
