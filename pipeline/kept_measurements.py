"""Measured photographs, kept on disk one by one, so that an interrupted run measures nothing twice.

A row is named by a digest of the photograph's bytes and of everything that its figures depend on; it holds
features or the reason for their absence, and nothing that says whose photograph it was.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.compared_candidates import Measurement
from pipeline.descent import Progress
from pipeline.features import mean_by_name, mean_features
from pipeline.measuring import Measuring
from pipeline.rejection import UnscorablePhotographError
from pipeline.stopwatch import Stopwatch
from pipeline.supplied_landmarks import landmarks_beside, placed_landmarks


@dataclass(frozen=True, slots=True)
class MeasuredPhotograph:
    """features: by name, averaged over the candidates; empty where `reason` says why there are none.

    reason: a value of `pipeline.result.RejectionReason`. detail: the sentence that goes with it.
    """

    features: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    detail: str = ""


class KeptMeasurements:
    """A folder of finished rows; `setup` is everything that a row depends on besides the photograph."""

    def __init__(self, folder: Path, setup: Mapping[str, object]) -> None:
        """Make the folder, for its owner only, where it is missing. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._setup = json.dumps(setup, sort_keys=True)

    def find(self, sha256: str) -> MeasuredPhotograph | None:
        """Return the row of the photograph with this digest, None where it has not been measured."""
        try:
            values = json.loads(self._path(sha256).read_text("utf-8"))
            row = MeasuredPhotograph(values["features"], values["reason"], values["detail"])
            finite = all(math.isfinite(value) for value in row.features.values())
            return row if finite and bool(row.features) != bool(row.reason) else None
        # None yet, or damaged by hand: measure it.
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def keep(self, sha256: str, row: MeasuredPhotograph) -> None:
        """Write a row; it is there whole or not at all. Raises OSError."""
        path = self._path(sha256)
        partial = path.with_suffix(".part")
        partial.write_text(
            json.dumps({"features": dict(row.features), "reason": row.reason, "detail": row.detail}), "utf-8"
        )
        partial.replace(path)

    def _path(self, sha256: str) -> Path:
        key = hashlib.sha256(f"{sha256} {self._setup}".encode()).hexdigest()
        return self._folder / f"{key}.json"


def measured_digest(path: Path, sha256: str) -> str:
    """Return what names the row of a photograph with this digest: of the landmarks beside it, too, if any.

    Raises OSError where these cannot be read.
    """
    landmarks = landmarks_beside(path)
    if landmarks is None:
        return sha256
    return hashlib.sha256(f"{sha256} landmarks ".encode() + landmarks.read_bytes()).hexdigest()


def measure_photograph(
    measuring: Measuring, path: Path, progress: Progress | None = None
) -> MeasuredPhotograph:
    """Measure a photograph as the node does; one that the node would reject comes back with its reason.

    Landmarks that a person placed beside it count. Raises OSError where a file cannot be read.
    """
    try:
        watch = Stopwatch()
        face = measuring.accepted_face(path, watch, placed_landmarks(path))
        found = measuring.measurer.measure(face, watch, progress)
    except UnscorablePhotographError as error:
        return MeasuredPhotograph(reason=str(error.rejection.reason), detail=error.rejection.detail)
    return MeasuredPhotograph(averaged_features(found))


def averaged_features(found: Measurement) -> dict[str, float]:
    """Return all features by name, averaged over the candidates, as the node's regressor gets them."""
    return {
        **mean_features(found.features).as_dict(),
        **mean_by_name(found.local_features),
        **mean_by_name(found.further_features),
    }
