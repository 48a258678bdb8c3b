"""One photograph's part of a report (TID 1410): outline, score and features, or why it has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import highdicom.sr as hd
import numpy as np
from numpy.typing import NDArray

from pipeline.result import Rejection, Score
from reports import codes
from reports.equipment import MANUFACTURER, SOFTWARE_VERSION
from reports.header import whole_number
from reports.notices import RESEARCH_USE_NOTICE, change_in_words, in_points, regressor_nature
from reports.reported_photograph import ReportedCourse, ReportedPhotograph
from reports.uids import tracking_uid

ALGORITHM_NAME: Final = "facenorm facial normality"


def build_measurement_group(
    photograph: ReportedPhotograph, position: int, course: ReportedCourse | None = None
) -> hd.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return the TID 1410 group of one photograph. position: its number in the report, from 1.

    course: the encounter's score among the patient's others; told of photographs that have a score. Scores
    and changes are rounded to two decimals, shares to a tenth of a percent, features to six digits.
    """
    source, result = photograph.source, photograph.result
    group = hd.PlanarROIMeasurementsAndQualitativeEvaluations(
        # The same face keeps its tracking UID in every later report.
        tracking_identifier=hd.TrackingIdentifier(
            uid=tracking_uid(str(source.SOPInstanceUID)),
            identifier=f"Photograph {position}",
        ),
        referenced_region=hd.ImageRegion(
            graphic_type=hd.GraphicTypeValues.POLYLINE,
            graphic_data=_outline(photograph),
            source_image=hd.SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID),
        ),
        finding_type=codes.FACE if isinstance(result, Score) else codes.REJECTIONS[result.reason],
        algorithm_id=_algorithm(result),
        measurements=list(_measurements(result, photograph, course)) if isinstance(result, Score) else None,
        qualitative_evaluations=_verdict(course) if isinstance(result, Score) else None,
    )
    for text in _comments(result, course):
        group[0].ContentSequence.append(
            hd.TextContentItem(codes.COMMENT, text, hd.RelationshipTypeValues.CONTAINS)
        )
    return group


def _outline(photograph: ReportedPhotograph) -> NDArray[np.float64]:
    """Return a closed polyline inside the image: the face's, or the whole frame for a rejection."""
    rows, columns = _size(photograph)
    if isinstance(photograph.result, Score):
        points: NDArray[np.float64] = np.asarray(photograph.result.outline, dtype=np.float64)
        points = np.clip(points, 0, (columns, rows))
        changed = np.any(points[1:] != points[:-1], axis=1)
        points = points[np.concatenate(([True], changed))]
        if len(np.unique(points, axis=0)) >= 3:
            return points
    return np.array([(0, 0), (columns, 0), (columns, rows), (0, rows), (0, 0)], dtype=float)


def _size(photograph: ReportedPhotograph) -> tuple[int, int]:
    """Return (rows, columns) from the result, else from the header; where nobody knows, the first pixel.

    A group without coordinates would go unlabelled in viewers, and every image has a first pixel.
    """
    result, source = photograph.result, photograph.source
    rows = result.rows or whole_number(source, "Rows", default=1) or 1
    columns = result.columns or whole_number(source, "Columns", default=1) or 1
    return rows, columns


def _measurements(
    score: Score, photograph: ReportedPhotograph, course: ReportedCourse | None
) -> Iterator[hd.Measurement]:
    """Yield the score first, as viewers show that one, then its uncertainty and the features."""
    images = [hd.SourceImageForMeasurement(photograph.source.SOPClassUID, photograph.source.SOPInstanceUID)]
    if photograph.normalized is not None:
        reference = photograph.normalized
        images.append(hd.SourceImageForMeasurement(reference.sop_class_uid, reference.sop_instance_uid))
    yield hd.Measurement(
        codes.NORMALITY_SCORE, round(score.value, 2), codes.SCORE_UNIT, referenced_images=images
    )
    yield hd.Measurement(
        codes.SCORE_UNCERTAINTY,
        round(score.uncertainty, 2),
        codes.SCORE_UNIT,
        derivation=codes.STANDARD_DEVIATION,
    )
    yield from _course(course)
    for region, share in score.region_shares.items():
        yield hd.Measurement(codes.REGION_SHARES[region], round(100 * share, 1), codes.PERCENT)
    for feature, value in {**score.features.as_dict(), **score.local_features}.items():
        name, unit = codes.EVERY_FEATURE[feature]
        yield hd.Measurement(name, float(f"{value:.6g}"), unit)


def _course(course: ReportedCourse | None) -> Iterator[hd.Measurement]:
    """Yield the score of an encounter of several photographs, and the change against the one before."""
    if course is None:
        return
    if course.encounter.photographs > 1:  # of one photograph it is that one's score
        yield hd.Measurement(codes.ENCOUNTER_SCORE, round(course.encounter.value, 2), codes.SCORE_UNIT)
    change = course.change
    if change is None:
        return
    for name, value in (
        (codes.PREVIOUS_SCORE, change.before.value),
        (codes.SCORE_CHANGE, change.change),
        (codes.SMALLEST_CHANGE, change.smallest),
    ):
        yield hd.Measurement(name, in_points(value), codes.SCORE_UNIT)


def _verdict(course: ReportedCourse | None) -> list[hd.QualitativeEvaluation] | None:
    """Return whether the change exceeds noise, where there is a change."""
    change = course.change if course else None
    if change is None:
        return None
    verdict = codes.YES if change.exceeds_noise else codes.NO
    return [hd.QualitativeEvaluation(codes.EXCEEDS_NOISE, verdict)]


def _algorithm(result: Score | Rejection) -> hd.AlgorithmIdentification:
    """Return TID 4019 with everything that decides a score, and which average it was pulled to."""
    provenance = result.provenance
    average = result.nearest_average if isinstance(result, Score) else None
    if provenance is None:
        return hd.AlgorithmIdentification(ALGORITHM_NAME, SOFTWARE_VERSION, manufacturer=MANUFACTURER)
    settings = [f"{name} = {value}" for name, value in provenance.settings.items()]
    return hd.AlgorithmIdentification(
        ALGORITHM_NAME,
        provenance.software_version,
        manufacturer=MANUFACTURER,
        family=codes.ARTIFICIAL_INTELLIGENCE,
        parameters=[
            f"generator = {provenance.generator}",
            f"generator sha256 = {provenance.generator_sha256}",
            f"metric = {provenance.metric}",
            *([f"metric sha256 = {provenance.metric_sha256}"] if provenance.metric_sha256 else []),
            f"regressor = {provenance.regressor}",
            f"regressor sha256 = {provenance.regressor_sha256}",
            f"regressor kind = {'synthetic' if provenance.regressor_is_synthetic else 'site-calibrated'}",
            f"profile = {provenance.profile}",
            f"seed = {provenance.seed}",
            *([f"nearest average = {average}"] if average is not None else []),
            *settings,
        ],
    )


def _comments(result: Score | Rejection, course: ReportedCourse | None) -> Iterator[str]:
    if isinstance(result, Rejection):
        yield f"This photograph was not scored. {result.detail}".strip()
    else:
        yield f"1 is most deformed, 7 most normal. {regressor_nature(result.provenance)}"
        for warning in result.warnings:
            yield f"Warning: {warning.detail}"
        if course is not None and course.encounter.date is None:
            yield "The study has no date that can be used: it is not compared, and the trend leaves it out."
        elif course is not None:
            yield change_in_words(course.encounter, course.change)
    yield RESEARCH_USE_NOTICE
