"""Anomalies drawn on an aligned face, for synthetic severities: training needs no patient's picture.

They resemble clinical findings in place and kind; they are not simulations of any disease.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pipeline import anomaly_colours as colours
from pipeline import anomaly_shapes as shapes
from pipeline.anatomy import Anatomy

_Draw = Callable[[NDArray[np.uint8], Anatomy, float, np.random.Generator], NDArray[np.uint8]]


class AnomalyKind(StrEnum):
    """What is drawn. The value goes into training records; never rename one."""

    CLEFT_LIP = "cleft_lip"
    NOSE_DEVIATION = "nose_deviation"
    MOUTH_DROOP = "mouth_droop"
    EYELID_DROOP = "eyelid_droop"
    EYE_DISPLACED = "eye_displaced"
    EYES_WIDE_SET = "eyes_wide_set"
    CHEEK_SWELLING = "cheek_swelling"
    JAW_DEVIATION = "jaw_deviation"
    CHIN_SMALL = "chin_small"
    PORT_WINE_STAIN = "port_wine_stain"
    PIGMENTED_LESION = "pigmented_lesion"
    HAEMANGIOMA = "haemangioma"
    SCAR = "scar"


_DRAWINGS: Mapping[AnomalyKind, _Draw] = MappingProxyType(
    {
        AnomalyKind.CLEFT_LIP: shapes.cleft_lip,
        AnomalyKind.NOSE_DEVIATION: shapes.nose_deviation,
        AnomalyKind.MOUTH_DROOP: shapes.mouth_droop,
        AnomalyKind.EYELID_DROOP: shapes.eyelid_droop,
        AnomalyKind.EYE_DISPLACED: shapes.eye_displaced,
        AnomalyKind.EYES_WIDE_SET: shapes.eyes_wide_set,
        AnomalyKind.CHEEK_SWELLING: shapes.cheek_swelling,
        AnomalyKind.JAW_DEVIATION: shapes.jaw_deviation,
        AnomalyKind.CHIN_SMALL: shapes.chin_small,
        AnomalyKind.PORT_WINE_STAIN: colours.port_wine_stain,
        AnomalyKind.PIGMENTED_LESION: colours.pigmented_lesion,
        AnomalyKind.HAEMANGIOMA: colours.haemangioma,
        AnomalyKind.SCAR: colours.scar,
    }
)


def draw_anomaly(
    face: NDArray[np.uint8],
    landmarks: NDArray[np.float64],
    kind: AnomalyKind,
    severity: float,
    seed: int,
) -> NDArray[np.uint8]:
    """Return a copy of `face` with one anomaly drawn on it.

    face: (rows, columns, 3) RGB, aligned, 1024x1024 where nothing else is wanted. landmarks: (68, 2) as
    (x, y) in pixels of `face`. severity: 0 (the face unchanged) to 1. seed: decides side, exact place and
    look; they stay the same at every severity, so that a series of severities is one anomaly growing.
    Raises ValueError for a severity outside 0 to 1 or landmarks of another shape.
    """
    if not 0 <= severity <= 1:
        raise ValueError(f"severity {severity} is outside 0 to 1")
    anatomy = Anatomy.of(landmarks)
    if severity == 0:
        return face.copy()
    return _DRAWINGS[kind](face, anatomy, severity, np.random.default_rng(seed))
