"""What a photograph must be like: from where on it is scored with a warning, from where on it is rejected."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class QualityThresholds:
    """The thresholds of `pipeline.quality`; docs/operations.md explains each.

    Sizes in photograph pixels, angles in degrees, shares from 0 to 1; sharpness and eye opening as
    `pipeline.capture_quality` defines them.
    """

    minimum_face_pixels: int = 200
    recommended_face_pixels: int = 350
    warned_yaw_degrees: float = 15.0
    rejected_yaw_degrees: float = 40.0
    warned_pitch_degrees: float = 20.0
    rejected_pitch_degrees: float = 40.0
    warned_roll_degrees: float = 30.0
    warned_rival: float = 0.3
    rejected_rival: float = 0.7
    warned_share_outside: float = 0.02
    rejected_share_outside: float = 0.2
    warned_sharpness: float = 0.2
    rejected_sharpness: float = 0.08
    warned_clipped_share: float = 0.05
    rejected_clipped_share: float = 0.3
    warned_dark_share: float = 0.3
    rejected_dark_share: float = 0.8
    warned_brightness: float = 0.37
    warned_eye_opening: float = 0.2
    warned_covered_share: float = 0.15
    warned_landmark_spread: float = 0.035

    def changed(self) -> dict[str, int | float]:
        """Return what differs from the defaults, by name."""
        usual = asdict(QualityThresholds())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}
