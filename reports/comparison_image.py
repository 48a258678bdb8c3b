"""The comparison image as a Secondary Capture (PS3.3 A.8.1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID

from pipeline.encounter_score import EncounterScore, before, change_since, scoring_id
from pipeline.result import Score
from reports import codes
from reports.comparison_picture import Panels, draw_comparison
from reports.derived_image import ImageDescription, build_derived_image
from reports.notices import RESEARCH_USE_NOTICE, regressor_nature
from reports.reported_photograph import ObjectReference
from reports.uids import derive_uid

SERIES_NUMBER: Final = 9004
SERIES_DESCRIPTION: Final = "Comparison with own norm (research use)"


def build_comparison_image(
    source: Dataset,
    panels: Panels,
    score: Score,
    encounter: EncounterScore,
    history: Sequence[EncounterScore],
    created: datetime,
    predecessor: ObjectReference | None = None,
) -> FileDataset:
    """Return the Secondary Capture that lays photograph beside norm, and score beside earlier ones.

    encounter: the one that the photograph belongs to. history: every encounter of the patient; those before
    this one are drawn. predecessor: the comparison of the same photograph that this one succeeds. Equal
    arguments give equal bytes.
    """
    earlier = before(encounter, history)
    days = [_days(one, encounter) for one in earlier]
    described = ImageDescription(
        sop_instance_uid=_uid(source, score, encounter, earlier, predecessor),
        series_instance_uid=derive_uid(
            "comparison_series",
            source_uids=[source.StudyInstanceUID],
            scoring_ids=[score.provenance.digest()],
        ),
        series_number=SERIES_NUMBER,
        series_description=SERIES_DESCRIPTION,
        derivation=(
            "Photograph, the same face drawn anew without its anomaly, where they differ, and the score on "
            "its scale from 1 (most deformed) to 7 (most normal) beside earlier ones."
        ),
        derivation_codes=[codes.GENERATIVE_NORMALIZATION],
        photographic=True,
        predecessor=predecessor,
        comments=" ".join([RESEARCH_USE_NOTICE, regressor_nature(score.provenance)]),
    )
    change = change_since(encounter, history)
    picture = draw_comparison(panels, score, encounter, earlier, change, days)
    return build_derived_image([source], picture, described, created)


def _uid(
    source: Dataset,
    score: Score,
    encounter: EncounterScore,
    earlier: Sequence[EncounterScore],
    predecessor: ObjectReference | None,
) -> UID:
    uid = str(source.SOPInstanceUID)
    shown = [one for other in (encounter, *earlier) for one in other.scoring_ids]
    return derive_uid(
        "comparison",
        source_uids=[uid],
        scoring_ids=[scoring_id(uid, score.provenance.digest()), *shown],
        predecessor_uid=predecessor.sop_instance_uid if predecessor else None,
    )


def _days(one: EncounterScore, encounter: EncounterScore) -> int:
    if one.date is None or encounter.date is None:
        return 0
    return (encounter.date - one.date).days
