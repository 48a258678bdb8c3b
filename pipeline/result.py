"""The frozen values that a scoring leaves behind; no torch here, so storage and reports import it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pipeline.computation import Computation

SettingValue = bool | int | float | str


class RejectionReason(StrEnum):
    """Why a photograph has no score. The value is stored and sent; never rename one."""

    NO_FACE = "no_face"
    FACE_TOO_SMALL = "face_too_small"
    UNREADABLE_PIXELS = "unreadable_pixels"
    UNSUPPORTED_COLOUR = "unsupported_colour"
    NOT_A_SINGLE_FRAME = "not_a_single_frame"
    SEVERAL_FACES = "several_faces"
    NOT_FRONTAL = "not_frontal"
    FACE_CUT_OFF = "face_cut_off"
    BLURRED = "blurred"
    BADLY_EXPOSED = "badly_exposed"
    UNUSABLE_LANDMARKS = "unusable_landmarks"


class QualityIssue(StrEnum):
    """What lessens the trust in a score. The value is stored and sent; never rename one."""

    SMALL_FACE = "small_face"
    SEVERAL_FACES = "several_faces"
    TURNED_PHOTOGRAPH = "turned_photograph"
    NOT_FRONTAL = "not_frontal"
    FACE_CUT_OFF = "face_cut_off"
    BLURRED = "blurred"
    OVEREXPOSED = "overexposed"
    UNDEREXPOSED = "underexposed"
    EYES_CLOSED = "eyes_closed"
    FACE_COVERED = "face_covered"
    UNSTEADY_LANDMARKS = "unsteady_landmarks"
    FOUND_BY_NETWORK = "found_by_network"
    LANDMARKS_BY_PERSON = "landmarks_by_person"


@dataclass(frozen=True, slots=True)
class QualityWarning:
    """A photograph was scored although something about it is not as it should be.

    detail: what, and how to retake it; never holds patient data.
    """

    issue: QualityIssue
    detail: str


FURTHER_FEATURES = (
    "d_xmae",
    "d_xmse",
    "d_xrmse",
    "d_xlogcosh",
    "d_wcanberra",
    "d_wchebyshev",
    "d_wmanhattan",
    "d_wcosine",
    "d_weuclidean",
    "d_wmahalanobis",
    "d_wminkowski",
)
"""The paper's features beyond the five that it keeps, by name and in order.

Four compare pictures (`pipeline.picture_distances`), seven latents (`pipeline.latent_distances`): definitions
and units are there.
"""


@dataclass(frozen=True, slots=True)
class Features:
    """The paper's five features of x_raw against x_norm, averaged over the K candidates.

    d_xperc: masked LPIPS, >= 0, no unit. d_xstr: (1 - MS-SSIM) / 2, in [0, 1].
    d_xpsnr: peak signal-to-noise ratio in dB (lower is farther). d_wbc: Bray-Curtis distance of
    w_raw and w_norm, >= 0. d_wcorr: correlation distance of w_raw and w_norm, in [0, 2].
    """

    d_xperc: float
    d_xstr: float
    d_xpsnr: float
    d_wbc: float
    d_wcorr: float

    def __post_init__(self) -> None:
        """Raise ValueError unless every feature is finite."""
        for name, value in self.as_dict().items():
            if not math.isfinite(value):
                raise ValueError(f"feature {name} is {value}; features must be finite")

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the five names in their fixed order."""
        return tuple(f.name for f in fields(Features))

    def as_dict(self) -> dict[str, float]:
        """Return name -> value in the fixed order."""
        return {f.name: float(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything that decides a score besides the pixels; its digest names the scoring setup.

    Of libraries only what their files decide is in it, not their versions: an update of torch that moves a
    score by a rounding error must not end a patient's history. constraints.txt says what was tested.
    metric_sha256, landmarks_sha256: of the metric's trunk and of the landmark model; empty in records from
    before they were kept.
    """

    generator: str
    generator_sha256: str
    metric: str
    regressor: str
    regressor_sha256: str
    regressor_is_synthetic: bool
    profile: str
    seed: int
    software_version: str
    settings: Mapping[str, SettingValue] = field(default_factory=dict)
    metric_sha256: str = ""
    landmarks_sha256: str = ""

    def __post_init__(self) -> None:
        """Freeze the settings."""
        object.__setattr__(self, "settings", MappingProxyType(dict(sorted(self.settings.items()))))

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON-ready values."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "settings"} | {
            "settings": dict(self.settings)
        }

    @staticmethod
    def from_dict(values: Mapping[str, object]) -> Provenance:
        """Rebuild what `as_dict` returned."""
        return Provenance(**dict(values))  # type: ignore[arg-type]

    def digest(self) -> str:
        """Return a sha256 hex digest over every field: equal digests mean comparable, repeatable scores."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()


FITTED_OTHERWISE = "regressor_fitted_otherwise"
"""Among a provenance's settings: the names of those that the regressor was fitted under otherwise."""

NINETY_PERCENT = 1.645
"""Standard deviations to either side that hold 90 % of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Score:
    """A scored photograph.

    value: 1 (most deformed) to 7 (most normal), the paper's scale. uncertainty: one standard
    deviation in points of that scale. outline: closed polyline around the face, (column, row) in
    pixels of the photograph as stored, first point repeated at the end. rows, columns: the
    photograph's size in pixels. seconds: wall-clock seconds by stage. local_features: the features beyond
    the paper's five, by name (`pipeline.local_features`). further_features: the paper's others, by name
    (`FURTHER_FEATURES`); empty in records from before they were kept, and without d_wmahalanobis where the
    generator has no covariance. region_shares: each region's share of the deviation, the greatest first
    (`pipeline.region_shares`); empty in records from before they were kept. warnings: what about the
    photograph lessens the trust in the score (`pipeline.quality`). computation: on what; None in records from
    before it was kept. nearest_average: the number of the average that the face was pulled to, from 1 on;
    None where one serves everybody. Of two scores with other ones part of the difference may be theirs.
    """

    value: float
    uncertainty: float
    features: Features
    outline: tuple[tuple[float, float], ...]
    rows: int
    columns: int
    provenance: Provenance
    seconds: Mapping[str, float]
    local_features: Mapping[str, float] = field(default_factory=dict)
    further_features: Mapping[str, float] = field(default_factory=dict)
    region_shares: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[QualityWarning, ...] = ()
    computation: Computation | None = None
    nearest_average: int | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for values outside their ranges."""
        if not 1.0 <= self.value <= 7.0:
            raise ValueError(f"score {self.value} is outside 1 to 7")
        if not (math.isfinite(self.uncertainty) and self.uncertainty >= 0):
            raise ValueError(f"uncertainty {self.uncertainty} must be finite and not negative")
        if len(self.outline) < 4 or self.outline[0] != self.outline[-1]:
            raise ValueError("the outline must be a closed polyline of at least three different points")
        object.__setattr__(self, "seconds", MappingProxyType(dict(self.seconds)))
        object.__setattr__(self, "local_features", MappingProxyType(dict(self.local_features)))
        for name, value in self.further_features.items():
            if not math.isfinite(value):
                raise ValueError(f"feature {name} is {value}; features must be finite")
        object.__setattr__(self, "further_features", MappingProxyType(dict(self.further_features)))
        for name, value in self.region_shares.items():
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"the share of region {name} is {value}; it must be in 0 to 1")
        object.__setattr__(self, "region_shares", MappingProxyType(dict(self.region_shares)))

    @property
    def interval(self) -> tuple[float, float]:
        """Return where nine scores of ten are expected, in points, within 1 to 7.

        `value` and 1.645 times `uncertainty` to either side; what share of held-out faces it really covers is
        in docs/validation.md.
        """
        width = NINETY_PERCENT * self.uncertainty
        return round(max(1.0, self.value - width), 3), round(min(7.0, self.value + width), 3)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A photograph that cannot be scored, with the reason and a sentence that says what to do.

    detail never holds patient data. rows and columns are None where not even the size could be read.
    """

    reason: RejectionReason
    detail: str
    rows: int | None = None
    columns: int | None = None
    provenance: Provenance | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FaceImages:
    """The pictures of one scoring: uint8 RGB arrays, 1024x1024x3 (or the generator's own size).

    aligned: the photograph in the generator's frame. masked: the same with everything outside the face
    mask set to mid-grey. normalized: x_norm of the best candidate. difference: heat picture of the
    absolute difference inside the mask. anomaly: heat picture of the local perceptual difference, with the
    regions' borders and a colour bar (`pipeline.anomaly_picture`); None where there is no map. in_place: the
    photograph as it came, (rows, columns, 3), with the normalized face blended in
    (`pipeline.blended_photograph`); None where nobody asked for it.
    """

    aligned: NDArray[np.uint8]
    masked: NDArray[np.uint8]
    normalized: NDArray[np.uint8]
    difference: NDArray[np.uint8]
    anomaly: NDArray[np.uint8] | None = None
    in_place: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """A score with its pictures."""

    score: Score
    images: FaceImages


def plain(value: Score | Rejection) -> dict[str, object]:
    """Return `value` as JSON-ready dictionaries and lists."""
    result = {f.name: getattr(value, f.name) for f in fields(value)}
    result["seconds"] = dict(value.seconds)
    result["provenance"] = value.provenance.as_dict() if value.provenance else None
    if isinstance(value, Score):
        result["features"] = asdict(value.features)
        result["local_features"] = dict(value.local_features)
        result["further_features"] = dict(value.further_features)
        result["region_shares"] = dict(value.region_shares)
        result["computation"] = asdict(value.computation) if value.computation else None
        result["outline"] = [list(point) for point in value.outline]
        result["warnings"] = [
            {"issue": warning.issue.value, "detail": warning.detail} for warning in value.warnings
        ]
    return result
