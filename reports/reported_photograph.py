"""What a report is told about one photograph, and about the report before it."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

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
    rejection. scoring_id: what tells this scoring of the photograph from its others, for example the
    setup's digest; it enters the report's UID.
    """

    source: Dataset
    result: Score | Rejection
    normalized: ObjectReference | None
    scoring_id: str


@dataclass(frozen=True, slots=True)
class PredecessorReport:
    """The report that a new one succeeds (Predecessor Documents Sequence, PS3.3 C.17.2)."""

    study_instance_uid: str
    report: ObjectReference
