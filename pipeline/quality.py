"""Whether a photograph is good enough to be scored, and what to do better: the quality gate.

A photograph that would give a wrong score is rejected; one that gives a less certain one is scored with a
warning. Nothing here asks how a face is built: an anomaly is no fault of a photograph.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline import capture_quality as measured
from pipeline.face import Face, FaceSource
from pipeline.locating import AlignedFace
from pipeline.pose import estimate_pose
from pipeline.quality_thresholds import QualityThresholds
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import QualityIssue, QualityWarning, Rejection, RejectionReason

_FRONTAL = "Ask the patient to face the camera, eyes and mouth level, the camera at the height of the eyes."
_LIGHT = "Use even, frontal light and expose for the skin."
_SHARP = "Hold the camera still, focus on the eyes, use more light."
_LOOK = "See that the outline lies on the face."
_WHOLE = "Step back until hair, ears and chin are in the picture."
_ALONE = "Photograph the patient alone, or cut the others off."


class QualityGate:
    """Checks found and aligned faces against thresholds."""

    def __init__(self, thresholds: QualityThresholds) -> None:
        self.thresholds = thresholds

    def check(self, face: AlignedFace, rows: int, columns: int) -> tuple[QualityWarning, ...]:
        """Return the warnings of a face in a photograph of that size, none where all is well.

        Raises UnscorablePhotographError with the reason and how to retake the photograph.
        """
        try:
            return tuple(self._warnings(face, rows, columns))
        except _UnfitError as error:
            rejection = Rejection(error.reason, error.detail, rows, columns)
            raise UnscorablePhotographError(rejection) from None

    def _warnings(self, face: AlignedFace, rows: int, columns: int) -> Iterator[QualityWarning]:
        if face.found is not None:
            yield from self._found(face.found)
        yield from self._posed(face)
        yield from self._framed(face, rows, columns)
        yield from self._exposed(face)
        yield from self._sharp(face)
        yield from self._open_and_free(face)

    def _found(self, found: Face) -> Iterator[QualityWarning]:
        at = self.thresholds
        if 0 < found.rival >= at.rejected_rival:
            told = f"There is another face, {found.rival:.0%} as large."
            raise _UnfitError(RejectionReason.SEVERAL_FACES, f"{told} {_ALONE}")
        if 0 < found.rival >= at.warned_rival:
            told = f"There is another, smaller face; the one found most surely was scored. {_ALONE}"
            yield QualityWarning(QualityIssue.SEVERAL_FACES, told)
        if found.size < at.recommended_face_pixels:
            told = f"The face is only {found.size:.0f} px across; {at.recommended_face_pixels} px are better."
            yield QualityWarning(QualityIssue.SMALL_FACE, f"{told} Move closer or use a higher resolution.")
        if found.source is FaceSource.NETWORK:
            yield QualityWarning(QualityIssue.FOUND_BY_NETWORK, f"The face was hard to find. {_LOOK}")
        if found.source is FaceSource.PERSON:
            yield QualityWarning(QualityIssue.LANDMARKS_BY_PERSON, "A person placed the landmarks.")
        if found.spread > at.warned_landmark_spread:
            told = f"The landmarks are unsteady: a part of the face may be covered or in shadow. {_LOOK}"
            yield QualityWarning(QualityIssue.UNSTEADY_LANDMARKS, told)

    def _posed(self, face: AlignedFace) -> Iterator[QualityWarning]:
        at, pose = self.thresholds, estimate_pose(face.alignment.to_photograph(face.landmarks))
        yaw, pitch = abs(pose.yaw), abs(pose.pitch)
        told = (
            f"The head is turned by about {yaw:.0f} degrees sideways and {pitch:.0f} up or down. {_FRONTAL}"
        )
        if yaw > at.rejected_yaw_degrees or pitch > at.rejected_pitch_degrees:
            raise _UnfitError(RejectionReason.NOT_FRONTAL, told)
        if yaw > at.warned_yaw_degrees or pitch > at.warned_pitch_degrees:
            yield QualityWarning(QualityIssue.NOT_FRONTAL, told)
        if abs(pose.roll) > at.warned_roll_degrees:
            told = f"The face leans by {abs(pose.roll):.0f} degrees; it was scored turned upright."
            yield QualityWarning(QualityIssue.TURNED_PHOTOGRAPH, f"{told} Keep the camera upright.")

    def _framed(self, face: AlignedFace, rows: int, columns: int) -> Iterator[QualityWarning]:
        at = self.thresholds
        outside = measured.share_outside(face.mask, face.alignment, rows, columns)
        told = f"{outside:.0%} of the face lies outside the picture. {_WHOLE}"
        if outside > at.rejected_share_outside:
            raise _UnfitError(RejectionReason.FACE_CUT_OFF, told)
        if outside > at.warned_share_outside:
            yield QualityWarning(QualityIssue.FACE_CUT_OFF, told)

    def _exposed(self, face: AlignedFace) -> Iterator[QualityWarning]:
        at = self.thresholds
        clipped, dark = measured.clipped_and_dark(face.picture, face.mask)
        burnt = f"{clipped:.0%} of the face is burnt out. {_LIGHT}"
        black = f"{dark:.0%} of the face is nearly black. {_LIGHT}"
        if clipped > at.rejected_clipped_share:
            raise _UnfitError(RejectionReason.BADLY_EXPOSED, burnt)
        if dark > at.rejected_dark_share:
            raise _UnfitError(RejectionReason.BADLY_EXPOSED, black)
        if clipped > at.warned_clipped_share:
            yield QualityWarning(QualityIssue.OVEREXPOSED, burnt)
        if dark > at.warned_dark_share:
            yield QualityWarning(QualityIssue.UNDEREXPOSED, black)
        elif measured.brightness(face.picture, face.landmarks) < at.warned_brightness:
            dim = "Even the lightest parts of the face are dim."
            yield QualityWarning(QualityIssue.UNDEREXPOSED, f"{dim} {_LIGHT}")

    def _sharp(self, face: AlignedFace) -> Iterator[QualityWarning]:
        at, sharpness = self.thresholds, measured.sharpness(face.picture, face.landmarks)
        if sharpness < at.rejected_sharpness:
            raise _UnfitError(RejectionReason.BLURRED, f"The face is blurred. {_SHARP}")
        if sharpness < at.warned_sharpness:
            yield QualityWarning(QualityIssue.BLURRED, f"The face is not quite sharp. {_SHARP}")

    def _open_and_free(self, face: AlignedFace) -> Iterator[QualityWarning]:
        at = self.thresholds
        if measured.eye_opening(face.landmarks) < at.warned_eye_opening:
            told = "Both eyes seem closed. Ask the patient to look into the camera, unless this is meant."
            yield QualityWarning(QualityIssue.EYES_CLOSED, told)
        covered = measured.covered_share(face.picture, face.landmarks)
        if covered > at.warned_covered_share:
            told = f"{covered:.0%} of the lower face seems covered. Take off what covers it, if possible."
            yield QualityWarning(QualityIssue.FACE_COVERED, told)


class _UnfitError(Exception):
    def __init__(self, reason: RejectionReason, detail: str) -> None:
        super().__init__(reason.value)
        self.reason, self.detail = reason, detail
