"""Every check of the quality gate: a photograph that trips it, and the same one that does not."""

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_node.settings_sections import Quality
from pipeline.alignment import Alignment, align, find_alignment
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.capture_quality import (
    brightness,
    clipped_and_dark,
    covered_share,
    eye_opening,
    share_outside,
    sharpness,
)
from pipeline.face import Face, FaceSource
from pipeline.locating import AlignedFace
from pipeline.mask import face_mask
from pipeline.quality import QualityGate
from pipeline.quality_thresholds import QualityThresholds
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import QualityIssue, QualityWarning, RejectionReason
from tests.faces import generated_face
from tests.landmarks import usual_landmarks
from tests.real_weights import face_finder
from tests.unit.test_pose import turned

Picture = NDArray[np.uint8]
SKIN = (200, 150, 130)


def aligned(picture: Picture, landmarks: NDArray[np.float64], found: Face | None = None) -> AlignedFace:
    """The face of a photograph, as the measurer would bring it."""
    alignment = find_alignment(landmarks)
    points = alignment.to_aligned(landmarks)
    return AlignedFace(align(picture, alignment), points, face_mask(points), alignment, found)


def schematic() -> tuple[Picture, NDArray[np.float64]]:
    """Skin with sharp grain, and landmarks on it."""
    grain = np.random.default_rng(0).integers(-12, 12, (64, 64, 1)).repeat(16, 0).repeat(16, 1)
    return np.clip(np.array(SKIN) + grain, 0, 255).astype(np.uint8), usual_landmarks()


def outcome(face: AlignedFace, **changed: float) -> set[QualityIssue] | RejectionReason:
    gate = QualityGate(replace(QualityThresholds(), **changed))
    try:
        return {warning.issue for warning in gate.check(face, 1024, 1024)}
    except UnscorablePhotographError as error:
        assert (error.rejection.rows, error.rejection.columns) == (1024, 1024)
        return error.rejection.reason


def test_a_good_photograph_has_no_warning() -> None:
    picture, points = schematic()
    assert outcome(aligned(picture, points, Face(points, 2.0))) == set()


@pytest.mark.parametrize(
    ("face", "expected"),
    [
        (Face(usual_landmarks() * 0.5, 1.0), {QualityIssue.SMALL_FACE}),
        (Face(usual_landmarks(), 1.0, rival=0.5), {QualityIssue.SEVERAL_FACES}),
        (Face(usual_landmarks(), 1.0, rival=0.9), RejectionReason.SEVERAL_FACES),
        (Face(usual_landmarks(), 1.0, spread=0.06), {QualityIssue.UNSTEADY_LANDMARKS}),
        (Face(usual_landmarks(), 1.0, FaceSource.NETWORK), {QualityIssue.FOUND_BY_NETWORK}),
        (Face(usual_landmarks(), 0.0, FaceSource.PERSON), {QualityIssue.LANDMARKS_BY_PERSON}),
    ],
)
def test_how_the_face_was_found(face: Face, expected: set[QualityIssue] | RejectionReason) -> None:
    picture, points = schematic()
    assert outcome(aligned(picture, points, face)) == expected


@pytest.mark.parametrize("threshold", ["warned_rival", "rejected_rival"])
def test_a_face_without_another_is_alone_although_any_other_would_count(threshold: str) -> None:
    picture, points = schematic()
    assert outcome(aligned(picture, points, Face(points, 2.0)), **{threshold: 0}) == set()
    beside = outcome(aligned(picture, points, Face(points, 2.0, rival=0.01)), **{threshold: 0})
    assert beside in ({QualityIssue.SEVERAL_FACES}, RejectionReason.SEVERAL_FACES)


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll", "expected"),
    [
        (10, 0, 0, set()),
        (22, 0, 0, {QualityIssue.NOT_FRONTAL}),
        (0, -26, 0, {QualityIssue.NOT_FRONTAL}),
        (-46, 0, 0, RejectionReason.NOT_FRONTAL),
        (0, 0, 20, set()),
        (0, 0, 90, {QualityIssue.TURNED_PHOTOGRAPH}),
        (0, 0, 180, {QualityIssue.TURNED_PHOTOGRAPH}),
    ],
)
def test_pose(yaw: float, pitch: float, roll: float, expected: set[QualityIssue] | RejectionReason) -> None:
    picture, _ = schematic()
    face = aligned(picture, turned(yaw, pitch, roll))
    free = {"warned_share_outside": 1, "rejected_share_outside": 1, "warned_eye_opening": 0}
    assert outcome(replace(face, picture=picture), **free) == expected


@pytest.mark.parametrize(
    ("shift", "expected"),
    [(0, set()), (330, {QualityIssue.FACE_CUT_OFF}), (620, RejectionReason.FACE_CUT_OFF)],
)
def test_a_face_that_the_frame_cuts_off(shift: float, expected: set[QualityIssue] | RejectionReason) -> None:
    picture, points = schematic()
    face = aligned(picture, points)
    matrix = face.alignment.matrix.copy()
    matrix[0, 2] += shift * face.alignment.scale
    assert outcome(replace(face, alignment=Alignment(matrix))) == expected
    assert (share_outside(face.mask, Alignment(matrix), 1024, 1024) > 0) == (shift > 0)


@pytest.mark.parametrize(
    ("value", "rows", "expected"),
    [
        (255, 0, set()),
        (255, 90, {QualityIssue.OVEREXPOSED}),
        (255, 1024, RejectionReason.BADLY_EXPOSED),
        (8, 330, {QualityIssue.UNDEREXPOSED}),
        (8, 1024, RejectionReason.BADLY_EXPOSED),
    ],
)
def test_exposure(value: int, rows: int, expected: set[QualityIssue] | RejectionReason) -> None:
    picture, points = schematic()
    face = aligned(picture, points)
    lit = face.picture.copy()
    lit[400 : 400 + rows] = value
    clipped, dark = clipped_and_dark(lit, face.mask)
    assert (clipped > 0.04) == (value == 255 and rows > 0)
    assert (dark > 0.2) == (value == 8)
    free = {"warned_covered_share": 1, "warned_sharpness": 0, "rejected_sharpness": 0}
    assert outcome(replace(face, picture=lit), **free) == expected


@pytest.mark.parametrize(
    ("light", "expected"), [(1.0, set()), (0.6, set()), (0.4, {QualityIssue.UNDEREXPOSED})]
)
def test_a_dim_photograph_is_told_from_a_dark_face(light: float, expected: set[QualityIssue]) -> None:
    picture, points = schematic()
    face = aligned(np.asarray(picture * 0.4, np.uint8), points)  # dark skin
    lit = face.picture.copy()
    lit[450:474] = 200  # the white of the eyes
    face = replace(face, picture=np.asarray(lit * light, np.uint8))
    assert brightness(face.picture, face.landmarks) == pytest.approx(200 * light / 255, abs=0.01)
    free = ("warned_dark_share", "rejected_dark_share", "warned_covered_share")
    assert outcome(face, warned_sharpness=0, rejected_sharpness=0, **dict.fromkeys(free, 1)) == expected


@pytest.mark.real_weights
@pytest.mark.parametrize(
    ("sigma", "expected"), [(0, set()), (3.5, {QualityIssue.BLURRED}), (8, RejectionReason.BLURRED)]
)
def test_blur_counts_and_size_does_not(sigma: float, expected: set[QualityIssue] | RejectionReason) -> None:
    picture = generated_face(3)
    landmarks = face_finder().find(picture).landmarks
    blurred = cv2.GaussianBlur(picture, (0, 0), sigma) if sigma else picture
    assert outcome(aligned(np.asarray(blurred, dtype=np.uint8), landmarks)) == expected
    small = np.asarray(cv2.resize(blurred, (400, 400), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    one, other = (aligned(p, landmarks * s) for p, s in ((blurred, 1.0), (small, 400 / 1024)))
    values = [sharpness(face.picture, face.landmarks) for face in (one, other)]
    assert values[0] == pytest.approx(values[1], abs=0.05)


@pytest.mark.real_weights
def test_closed_eyes() -> None:
    closed = generated_face(3)
    landmarks = face_finder().find(closed).landmarks
    assert eye_opening(landmarks) > 0.25
    shut = landmarks.copy()
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        shut[upper] = 0.75 * shut[lower] + 0.25 * shut[upper]
    assert outcome(aligned(closed, shut)) == {QualityIssue.EYES_CLOSED}
    one_open = shut.copy()
    one_open[42:48] = landmarks[42:48]
    assert outcome(aligned(closed, one_open)) == set()  # a lid that hangs is no fault of the photograph


@pytest.mark.real_weights
@pytest.mark.parametrize("colour", [(170, 200, 225), (238, 240, 240), (60, 140, 120)])
def test_a_mask_is_seen(colour: tuple[int, int, int]) -> None:
    face = generated_face(3)
    landmarks = face_finder().find(face).landmarks
    masked = face.copy()
    points = np.round(landmarks[[2, 29, 14, 12, 10, 8, 6, 4]]).astype(np.int32)
    cv2.fillPoly(masked, [points], colour)
    assert QualityIssue.FACE_COVERED in outcome(aligned(masked, landmarks))
    assert covered_share(aligned(masked, landmarks).picture, landmarks) > 0.5


@pytest.mark.real_weights
@pytest.mark.parametrize("kind", list(AnomalyKind))
def test_no_anomaly_is_taken_for_a_fault_of_the_photograph(kind: AnomalyKind) -> None:
    face = generated_face(3)
    landmarks = face_finder().find(face).landmarks
    drawn = draw_anomaly(face, landmarks, kind, 1.0, 1)
    found = face_finder().find(drawn)
    got = outcome(aligned(drawn, found.landmarks, found))
    assert isinstance(got, set)
    assert got <= {
        QualityIssue.UNSTEADY_LANDMARKS,
        QualityIssue.EYES_CLOSED,
    }  # by lids that hang on both sides


def test_warnings_say_how_to_retake_and_name_no_one() -> None:
    picture, points = schematic()
    gate = QualityGate(QualityThresholds())
    (warning,) = gate.check(aligned(picture, points, Face(points * 0.5, 1.0)), 1024, 1024)
    assert warning == QualityWarning(
        QualityIssue.SMALL_FACE,
        "The face is only 287 px across; 350 px are better. Move closer or use a higher resolution.",
    )


def test_settings_have_the_thresholds_and_their_defaults() -> None:
    assert Quality().thresholds() == QualityThresholds()
    assert set(Quality.model_fields) == {field.name for field in fields(QualityThresholds)}
    assert QualityThresholds().changed() == {}
    assert Quality(warned_yaw_degrees=12).thresholds().changed() == {"warned_yaw_degrees": 12}
