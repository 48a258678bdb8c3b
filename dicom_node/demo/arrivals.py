"""What came back to the PACS, photograph by photograph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_node.demo.photographs import Photograph
from reports.normalized_photograph import SERIES_DESCRIPTION
from reports.options import REPORT_SOP_CLASSES
from reports.reported_scores import ReportedScore, read_scores


@dataclass(frozen=True, slots=True)
class Arrival:
    """A photograph, what the reports say of it, and the normalized images made from it."""

    photograph: Photograph
    reported: tuple[ReportedScore, ...]
    normalized: tuple[Dataset, ...]

    @property
    def score(self) -> ReportedScore | None:
        """What the report says, where it gives a score."""
        return next((one for one in self.reported if one.score is not None), None)

    @property
    def settled(self) -> bool:
        """Whether nothing more is to come: a report, and the image too unless it was rejected."""
        return bool(self.reported) and (bool(self.normalized) or self.score is None)

    @property
    def complete(self) -> bool:
        """Whether exactly one report with a score and one normalized image came back."""
        return len(self.reported) == 1 and len(self.normalized) == 1 and self.score is not None

    @property
    def missing(self) -> str:
        """What did not come back, in words; '' where all did."""
        if self.complete:
            return ""
        parts = [
            f"{name} {len(found)} times" if found else f"no {name}"
            for name, found in (("report", self.reported), ("normalized image", self.normalized))
            if len(found) != 1
        ]
        rejected = [f"rejected ({one.reason.value})" for one in self.reported if one.reason is not None]
        return ", ".join(rejected + parts) or "no score"


def arrivals(photographs: Iterable[Photograph], objects: Sequence[Dataset]) -> list[Arrival]:
    """Sort what the PACS holds by the photograph that it is about."""
    reported = [one for o in objects if o.SOPClassUID in REPORT_SOP_CLASSES for one in read_scores(o)]
    images = [o for o in objects if o.get("SeriesDescription") == SERIES_DESCRIPTION]
    return [
        Arrival(
            photograph,
            tuple(o for o in reported if o.source_sop_instance_uid == photograph.sop_instance_uid),
            tuple(image for image in images if photograph.sop_instance_uid in _sources(image)),
        )
        for photograph in photographs
    ]


def _sources(image: Dataset) -> list[str]:
    return [str(item.ReferencedSOPInstanceUID) for item in image.get("SourceImageSequence") or ()]
