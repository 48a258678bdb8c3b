"""The trend as a Secondary Capture (PS3.3 A.8.1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydicom.dataset import Dataset, FileDataset

from reports import codes
from reports.derived_image import ImageDescription, build_derived_image
from reports.notices import RESEARCH_USE_NOTICE, nature_in_words
from reports.reported_photograph import ObjectReference, ReportedCourse
from reports.trend_picture import draw_trend
from reports.uids import derive_uid

SERIES_NUMBER: Final = 9005
SERIES_DESCRIPTION: Final = "Facial normality over time (research use)"


def build_trend_image(
    sources: Sequence[Dataset],
    course: ReportedCourse,
    created: datetime,
    predecessor: ObjectReference | None = None,
) -> FileDataset:
    """Return the chart of this encounter's score and all earlier ones, in the study of `sources`.

    sources: the encounter's scored photographs; headers are enough. The chart shows study dates, and so
    says Burned In Annotation YES. Equal arguments give equal bytes. Raises ValueError for an undated course.
    """
    study = str(sources[0].StudyInstanceUID)
    described = ImageDescription(
        sop_instance_uid=derive_uid(
            "trend",
            source_uids=[study],
            scoring_ids=course.scoring_ids,
            predecessor_uid=predecessor.sop_instance_uid if predecessor else None,
        ),
        series_instance_uid=derive_uid("trend_series", source_uids=[study]),
        series_number=SERIES_NUMBER,
        series_description=SERIES_DESCRIPTION,
        derivation="Chart of the facial normality scores of this encounter and of earlier ones.",
        derivation_codes=[codes.GENERATIVE_NORMALIZATION],
        comments=f"{RESEARCH_USE_NOTICE} {nature_in_words(course.encounter.regressor_is_synthetic)}",
        faces=False,
        dated=True,
        instance_number=1,
        predecessor=predecessor,
    )
    picture = draw_trend(course.shown, course.encounter.setup_digest)
    return build_derived_image(sources, picture, described, created)
