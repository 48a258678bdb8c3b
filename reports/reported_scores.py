"""Reading a report back: the score or the reason, per photograph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from pipeline.result import RejectionReason
from reports import codes

_REASONS = {code.value: reason for reason, code in codes.REJECTIONS.items()}


@dataclass(frozen=True, slots=True)
class ReportedScore:
    """What a report says about one photograph: either a score with its uncertainty, or a reason.

    outline: closed polyline, (column, row) in pixels of the photograph.
    """

    source_sop_instance_uid: str
    tracking_uid: str
    score: float | None
    uncertainty: float | None
    reason: RejectionReason | None
    features: dict[str, float]
    outline: tuple[tuple[float, float], ...]


def read_scores(report: Dataset) -> list[ReportedScore]:
    """Return what `report`, one of ours, says per photograph, in its order.

    Measurement groups without a region on an image are passed over: they are not ours (TID 1410).
    """
    groups = [
        group
        for container in _named(report, standard.DCM.ImagingMeasurements)
        for group in _named(container, standard.DCM.MeasurementGroup)
    ]
    return [_read_group(group) for group in groups if any(_named(group, standard.DCM.ImageRegion))]


def _read_group(group: Dataset) -> ReportedScore:
    region = next(_named(group, standard.DCM.ImageRegion))
    flat = [float(value) for value in region.GraphicData]
    features = {name: _number(group, code) for name, (code, _) in codes.EVERY_FEATURE.items()}
    return ReportedScore(
        source_sop_instance_uid=str(
            region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        ),
        tracking_uid=next((str(i.UID) for i in _named(group, standard.DCM.TrackingUniqueIdentifier)), ""),
        score=_number(group, codes.NORMALITY_SCORE),
        uncertainty=_number(group, codes.SCORE_UNCERTAINTY),
        reason=_reason(group),
        features={name: value for name, value in features.items() if value is not None},
        outline=tuple(zip(flat[::2], flat[1::2], strict=True)),
    )


def _named(parent: Dataset, name: Code) -> Iterator[Dataset]:
    """Yield the content items directly under `parent` that have this concept name."""
    for item in parent.get("ContentSequence") or ():
        for concept in item.get("ConceptNameCodeSequence") or ():
            if (concept.get("CodeValue"), concept.CodingSchemeDesignator) == (
                name.value,
                name.scheme_designator,
            ):
                yield item


def _number(group: Dataset, name: Code) -> float | None:
    for item in _named(group, name):
        for measured in item.get("MeasuredValueSequence") or ():
            return float(measured.NumericValue)
    return None


def _reason(group: Dataset) -> RejectionReason | None:
    for item in _named(group, standard.DCM.Finding):
        finding = item.ConceptCodeSequence[0]
        if finding.CodingSchemeDesignator == codes.SCHEME:
            return _REASONS.get(finding.CodeValue)
    return None
