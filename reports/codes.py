"""Coded concepts: from the standard where it has one, else from the scheme 99FACENORM (docs/codes.md)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from pipeline.result import RejectionReason

SCHEME: Final = "99FACENORM"
SCHEME_NAME: Final = "facenorm private codes"

# From the standard.
FACE: Final = Code("89545001", "SCT", "Face")
PHOTOGRAPHY_OF_PATIENT: Final = codes.cid8131.PhotographyOfPatient
STANDARD_DEVIATION: Final = codes.SCT.StandardDeviation
ARTIFICIAL_INTELLIGENCE: Final = codes.cid7162.ArtificialIntelligence
SOURCE_IMAGE: Final = codes.cid7202.SourceImageForImageProcessingOperation
SPATIAL_RESAMPLING: Final = codes.cid7203.SpatialResampling
EXTERNAL_CAMERA_PHOTOGRAPHY: Final = codes.cid29.ExternalCameraPhotography
ACQUISITION_EQUIPMENT: Final = Code("109101", "DCM", "Acquisition Equipment")
YES: Final = codes.SCT.Yes
NO: Final = codes.SCT.No
COMMENT: Final = Code("121106", "DCM", "Comment")

# Units (UCUM).
SCORE_UNIT: Final = Code("{score}", "UCUM", "score")
PERCENT: Final = Code("%", "UCUM", "percent")
NO_UNIT: Final = Code("1", "UCUM", "no units")
DECIBEL: Final = Code("dB", "UCUM", "decibel")

# Ours.
NORMALITY_SCORE: Final = Code("SCORE", SCHEME, "Facial normality score")
SCORE_UNCERTAINTY: Final = Code("SCORE_SD", SCHEME, "Uncertainty of facial normality score")
ENCOUNTER_SCORE: Final = Code("SCORE_ENC", SCHEME, "Facial normality score of the encounter")
PREVIOUS_SCORE: Final = Code("SCORE_PREV", SCHEME, "Facial normality score of the encounter before")
SCORE_CHANGE: Final = Code("CHANGE", SCHEME, "Change of facial normality score")
SMALLEST_CHANGE: Final = Code("CHANGE_NOISE", SCHEME, "Smallest change that exceeds noise")
EXCEEDS_NOISE: Final = Code("CHANGE_EXCEEDS", SCHEME, "Change of the score exceeds noise")
PATIENT_PAGE: Final = Code("PATIENT_PAGE", SCHEME, "Facial normality over time: page for the patient")
PREDECESSOR: Final = Code("PREDECESSOR", SCHEME, "Object that this one succeeds")
GENERATIVE_NORMALIZATION: Final = Code("NORMALIZATION", SCHEME, "Generative normalization of a face")

FEATURES: Final[Mapping[str, tuple[Code, Code]]] = MappingProxyType(
    {
        "d_xperc": (Code("D_XPERC", SCHEME, "Perceptual distance (LPIPS) to normalized face"), NO_UNIT),
        "d_xstr": (Code("D_XSTR", SCHEME, "Structural distance (MS-SSIM) to normalized face"), NO_UNIT),
        "d_xpsnr": (Code("D_XPSNR", SCHEME, "Peak signal-to-noise ratio to normalized face"), DECIBEL),
        "d_wbc": (Code("D_WBC", SCHEME, "Bray-Curtis distance of latents"), NO_UNIT),
        "d_wcorr": (Code("D_WCORR", SCHEME, "Correlation distance of latents"), NO_UNIT),
    }
)
"""Feature name -> (concept name, unit), in the fixed order of `pipeline.result.Features`."""

LOCAL_FEATURES: Final[Mapping[str, tuple[Code, Code]]] = MappingProxyType(
    {
        "l_p99": (Code("L_P99", SCHEME, "Local perceptual distance, 99th percentile"), NO_UNIT),
        "l_contrast": (Code("L_CONTRAST", SCHEME, "Local perceptual distance above its median"), NO_UNIT),
        "l_asymmetry": (Code("L_ASYMMETRY", SCHEME, "Left-right difference of perceptual distance"), NO_UNIT),
        "c_p99": (Code("C_P99", SCHEME, "Local colour deviation, 99th percentile"), NO_UNIT),
        "c_asymmetry": (Code("C_ASYMMETRY", SCHEME, "Left-right difference of colour deviation"), NO_UNIT),
    }
)
"""The same for `pipeline.local_features.LOCAL_FEATURES`; a score may be without them."""

LEARNED_FEATURES: Final[Mapping[str, tuple[Code, Code]]] = MappingProxyType(
    {
        "n_severity": (Code("N_SEVERITY", SCHEME, "Severity of anomaly seen by network"), NO_UNIT),
        "n_peak": (Code("N_PEAK", SCHEME, "Greatest local anomaly seen by network"), NO_UNIT),
        "n_size": (Code("N_SIZE", SCHEME, "Size of anomaly seen by network"), NO_UNIT),
        "n_asymmetry": (Code("N_ASYMMETRY", SCHEME, "Left-right difference of anomaly"), NO_UNIT),
    }
)
"""The same for `pipeline.learned_features.LEARNED_FEATURES`; a score may be without them."""

SHAPE_FEATURES: Final[Mapping[str, tuple[Code, Code]]] = MappingProxyType(
    {
        "s_chin": (Code("S_CHIN", SCHEME, "Displacement of chin from normalized face"), NO_UNIT),
        "s_disagreement": (Code("S_DISAGREEMENT", SCHEME, "Disagreement of parts with usual faces"), NO_UNIT),
    }
)
"""The same for `pipeline.shape_features.SHAPE_FEATURES`; a score may be without them."""

EVERY_FEATURE: Final = MappingProxyType({**FEATURES, **LOCAL_FEATURES, **LEARNED_FEATURES, **SHAPE_FEATURES})
"""All of these: the paper's five, and what is stated beside them."""

REGION_SHARES: Final[Mapping[str, Code]] = MappingProxyType(
    {
        "brows": Code("SHARE_BROWS", SCHEME, "Share of deviation: brows"),
        "right_eye": Code("SHARE_R_EYE", SCHEME, "Share of deviation: right eye"),
        "left_eye": Code("SHARE_L_EYE", SCHEME, "Share of deviation: left eye"),
        "nose": Code("SHARE_NOSE", SCHEME, "Share of deviation: nose"),
        "upper_lip": Code("SHARE_UPPER_LIP", SCHEME, "Share of deviation: upper lip"),
        "lower_lip": Code("SHARE_LOWER_LIP", SCHEME, "Share of deviation: lower lip"),
        "right_cheek": Code("SHARE_R_CHEEK", SCHEME, "Share of deviation: right cheek"),
        "left_cheek": Code("SHARE_L_CHEEK", SCHEME, "Share of deviation: left cheek"),
        "chin_and_jaw": Code("SHARE_CHIN_JAW", SCHEME, "Share of deviation: chin and jaw"),
        "forehead": Code("SHARE_FOREHEAD", SCHEME, "Share of deviation: forehead"),
    }
)
"""Region (`pipeline.face_regions.FaceRegion`) -> the measurement of its share, in percent."""

REJECTIONS: Final[Mapping[RejectionReason, Code]] = MappingProxyType(
    {
        RejectionReason.NO_FACE: Code("REJ_NO_FACE", SCHEME, "Rejected: no face found"),
        RejectionReason.FACE_TOO_SMALL: Code("REJ_SMALL_FACE", SCHEME, "Rejected: face too small"),
        RejectionReason.UNREADABLE_PIXELS: Code("REJ_UNREADABLE", SCHEME, "Rejected: pixels cannot be read"),
        RejectionReason.UNSUPPORTED_COLOUR: Code("REJ_COLOUR", SCHEME, "Rejected: colour not supported"),
        RejectionReason.NOT_A_SINGLE_FRAME: Code("REJ_MULTI_FRAME", SCHEME, "Rejected: not a single frame"),
        RejectionReason.SEVERAL_FACES: Code("REJ_MANY_FACES", SCHEME, "Rejected: several faces"),
        RejectionReason.NOT_FRONTAL: Code("REJ_NOT_FRONTAL", SCHEME, "Rejected: face not frontal"),
        RejectionReason.FACE_CUT_OFF: Code("REJ_CUT_OFF", SCHEME, "Rejected: face cut off by the frame"),
        RejectionReason.BLURRED: Code("REJ_BLURRED", SCHEME, "Rejected: face blurred"),
        RejectionReason.BADLY_EXPOSED: Code("REJ_EXPOSURE", SCHEME, "Rejected: face badly exposed"),
        RejectionReason.UNUSABLE_LANDMARKS: Code("REJ_LANDMARKS", SCHEME, "Rejected: landmarks unusable"),
    }
)
"""Reason -> the finding that a rejected photograph gets."""


def code_item(code: Code) -> Dataset:
    """Return `code` as an item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def add_coding_scheme(target: Dataset) -> None:
    """Say in `target` what 99FACENORM is (Coding Scheme Identification Sequence, PS3.3 C.12.1)."""
    item = Dataset()
    item.CodingSchemeDesignator = SCHEME
    item.CodingSchemeName = SCHEME_NAME
    item.CodingSchemeResponsibleOrganization = "facenorm"
    target.CodingSchemeIdentificationSequence = [item]
