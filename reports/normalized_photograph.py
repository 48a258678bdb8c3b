"""The normalized photograph: in the generator's own frame, and back in the photograph that it is of."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID, SecondaryCaptureImageStorage

from pipeline.encounter_score import scoring_id
from pipeline.result import Provenance, Score
from reports import codes
from reports.derived_image import ImageDescription, build_derived_image
from reports.notices import RESEARCH_USE_NOTICE, regressor_nature
from reports.reported_photograph import ObjectReference
from reports.uids import derive_uid

SERIES_NUMBER: Final = 9001
IN_PLACE_SERIES_NUMBER: Final = 9003
SERIES_DESCRIPTION: Final = "Normalized face (generated, research use)"
IN_PLACE_SERIES_DESCRIPTION: Final = "Normalized in place (generated, research use)"


def build_normalized_photograph(
    source: Dataset,
    normalized: NDArray[np.uint8],
    score: Score,
    created: datetime,
    sop_class_uid: UID = SecondaryCaptureImageStorage,
    predecessor: ObjectReference | None = None,
) -> FileDataset:
    """Return the image of `normalized`, derived from the photograph `source`.

    source: the photograph; its header is enough. normalized: (rows, columns, 3) uint8, RGB in sRGB, the face
    as the generator draws it. sop_class_uid: Secondary Capture or VL Photographic Image. predecessor: the
    same under an older setup. Equal arguments give equal bytes, and the UIDs depend on photograph,
    provenance, class and predecessor alone, so keep the finished object and resend those bytes. Raises
    ValueError for another shape or type.
    """
    described = _described(
        source,
        score.provenance,
        sop_class_uid,
        predecessor,
        role="normalized_photograph",
        series=(SERIES_NUMBER, SERIES_DESCRIPTION),
        how="Face aligned and drawn anew by a generative model as it would look without its anomaly.",
    )
    return build_derived_image([source], normalized, described, created)


def build_normalized_in_place(
    source: Dataset,
    in_place: NDArray[np.uint8],
    score: Score,
    created: datetime,
    sop_class_uid: UID = SecondaryCaptureImageStorage,
    predecessor: ObjectReference | None = None,
) -> FileDataset:
    """Return the photograph with its normalized face blended in, at its own scale and orientation.

    in_place: uint8 RGB of the photograph's own rows and columns, so that a viewer lays one on the other.
    The rest is as for `build_normalized_photograph`.
    """
    described = _described(
        source,
        score.provenance,
        sop_class_uid,
        predecessor,
        role="normalized_in_place",
        series=(IN_PLACE_SERIES_NUMBER, IN_PLACE_SERIES_DESCRIPTION),
        how=(
            "Face drawn anew by a generative model as it would look without its anomaly, "
            "and blended into the photograph in its own place."
        ),
        photographic=True,
    )
    return build_derived_image([source], in_place, described, created)


def _described(
    source: Dataset,
    provenance: Provenance,
    sop_class_uid: UID,
    predecessor: ObjectReference | None,
    *,
    role: str,
    series: tuple[int, str],
    how: str,
    photographic: bool = False,
) -> ImageDescription:
    setup = provenance.digest()
    uid, number, description = str(source.SOPInstanceUID), *series
    return ImageDescription(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=derive_uid(
            role,
            source_uids=[uid],
            scoring_ids=[scoring_id(uid, setup)],
            predecessor_uid=predecessor.sop_instance_uid if predecessor else None,
            variant=sop_class_uid,
        ),
        # Every photograph of a study normalized under one setup goes into one series.
        series_instance_uid=derive_uid(
            f"{role}_series",
            source_uids=[str(source.get("StudyInstanceUID"))],
            scoring_ids=[setup],
            variant=sop_class_uid,
        ),
        series_number=number,
        series_description=description,
        derivation=(
            f"{how} Generator {provenance.generator}, profile {provenance.profile}, seed {provenance.seed}."
        ),
        derivation_codes=[codes.SPATIAL_RESAMPLING, codes.GENERATIVE_NORMALIZATION],
        photographic=photographic,
        predecessor=predecessor,
        comments=" ".join([RESEARCH_USE_NOTICE, "Generated picture.", regressor_nature(provenance)]),
    )
