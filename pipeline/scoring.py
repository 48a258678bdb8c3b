"""One photograph in, one score or rejection out: the stages in order, timed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.allocator import keep_freed_memory
from models.generator import choose_device, load_generator
from models.regressor import Regressor, RegressorError, load_regressor
from pipeline.blended_photograph import blended_photograph
from pipeline.compared_candidates import Measurement
from pipeline.computation import Computation
from pipeline.descent import Progress
from pipeline.device_faults import device_faults
from pipeline.features import mean_by_name, mean_features
from pipeline.locating import AlignedFace
from pipeline.mask import outline_in_photograph
from pipeline.measuring import Measuring, measured_features, measuring_on
from pipeline.nearest_average import number_of_average
from pipeline.photograph import read_photograph
from pipeline.pictures import face_images
from pipeline.quality_thresholds import QualityThresholds
from pipeline.region_shares import RegionBaseline, shares_of_face
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import (
    QualityWarning,
    Rejection,
    Score,
    Scored,
)
from pipeline.scoring_provenance import scoring_provenance
from pipeline.stopwatch import Stopwatch
from pipeline.supplied_landmarks import read_landmarks

Warnings = tuple[QualityWarning, ...]


class PhotographScorer:
    """Scores photographs with what measures them and one regressor."""

    def __init__(self, measuring: Measuring, regressor: Regressor) -> None:
        """Raise RegressorError for another generator's regressor, or one that asks for unknown features."""
        generator = measuring.generator
        if regressor.generator_sha256 != generator.sha256:
            raise RegressorError(
                f"scoring.regressor: {regressor.name} was fitted on {regressor.generator}, not on "
                f"these weights of {generator.name}; choose its own regressor or calibrate one"
            )
        unknown = set(regressor.features) - measured_features(generator)
        if unknown:
            raise RegressorError(
                f"scoring.regressor: {regressor.name} asks for the feature {sorted(unknown)[0]!r}, which "
                "this version does not measure; use the version that it was fitted with, or calibrate anew"
            )
        self.generator, self.metric = generator, measuring.metric
        self.device = _in_words(generator.device)
        self.measurer, self._profile = measuring.measurer, measuring.profile
        self._regressor = regressor
        self._quality = measuring.gate
        self._region_baseline = RegionBaseline.of_card(generator.card)
        self.provenance = scoring_provenance(measuring, regressor)

    def score_file(
        self, path: Path, progress: Progress | None = None, landmarks: Path | None = None
    ) -> Scored | Rejection:
        """Score a JPEG, PNG or DICOM file; landmarks: a file of landmarks (`pipeline.supplied_landmarks`)."""
        watch = Stopwatch()
        try:
            with watch.stage("decode"):
                rgb = read_photograph(path)
                placed = None if landmarks is None else read_landmarks(landmarks)
        except UnscorablePhotographError as error:
            return self.rejected(error.rejection, watch)
        return self._score(rgb, watch, progress, placed)

    def blend_file(self, path: Path, normalized: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the `in_place` picture of a photograph scored before, whose `normalized` one was kept.

        Raises UnscorablePhotographError where the photograph has changed since.
        """
        rgb = read_photograph(path)
        face = self.measurer.locate(rgb, Stopwatch())
        return blended_photograph(rgb, normalized, face.mask, face.alignment)

    def score(self, rgb: NDArray[np.uint8], progress: Progress | None = None) -> Scored | Rejection:
        """Score a photograph, uint8 (rows, columns, 3)."""
        return self._score(rgb, Stopwatch(), progress)

    def checked(self, face: AlignedFace, rgb: NDArray[np.uint8], watch: Stopwatch) -> Warnings:
        """Check a photograph, uint8 (rows, columns, 3), and its face. Raises UnscorablePhotographError."""
        with watch.stage("quality"):
            return self._quality.check(face, *rgb.shape[:2])

    def _score(
        self,
        rgb: NDArray[np.uint8],
        watch: Stopwatch,
        progress: Progress | None,
        landmarks: NDArray[np.float64] | None = None,
    ) -> Scored | Rejection:
        try:
            face = self.measurer.locate(rgb, watch, landmarks)
            warnings = self.checked(face, rgb, watch)
        except UnscorablePhotographError as error:
            return self.rejected(error.rejection, watch)
        with device_faults():
            measured = self.measurer.measure(face, watch, progress)
        return self.scored(rgb, face, measured, watch, warnings)

    def scored(
        self,
        rgb: NDArray[np.uint8],
        face: AlignedFace,
        found: Measurement,
        watch: Stopwatch,
        warnings: Warnings,
    ) -> Scored:
        """Return the score of a measured face, with its pictures."""
        scores = [
            self._regressor.predict({**features.as_dict(), **local, **further})
            for features, local, further in zip(
                found.features, found.local_features, found.further_features, strict=True
            )
        ]
        mean, local = mean_features(found.features), mean_by_name(found.local_features)
        further = mean_by_name(found.further_features)
        score = Score(
            value=round(self._regressor.predict({**mean.as_dict(), **local, **further}), 3),
            uncertainty=round(_uncertainty(scores, self._regressor.residual_std), 3),
            features=mean,
            outline=outline_in_photograph(face.landmarks, face.alignment, *rgb.shape[:2]),
            rows=rgb.shape[0],
            columns=rgb.shape[1],
            provenance=self.provenance,
            seconds=watch.seconds,
            local_features=local,
            further_features=further,
            region_shares=shares_of_face(
                found.anomaly_map, face.landmarks, self._region_baseline, found.judged_map
            ),
            warnings=warnings,
            computation=Computation(self.device),
            nearest_average=number_of_average(self.generator, self._profile, found.latents.average),
        )
        return Scored(score, face_images(face, found.normalized, found.anomaly_map, rgb))

    def rejected(self, found: Rejection, watch: Stopwatch) -> Rejection:
        """Return the rejection with all that a result carries."""
        return Rejection(
            found.reason, found.detail, found.rows, found.columns, self.provenance, watch.seconds
        )


def _in_words(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _uncertainty(scores: list[float], residual_std: float) -> float:
    """Return one standard deviation: spread of the candidates' scores and the regressor's own error."""
    spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    return float(np.hypot(spread, residual_std))


def build_scorer(
    generator: str,
    profile: str,
    device: str = "auto",
    regressor: str = "",
    seed: int = 0,
    precision: str = "float32",
    quality: QualityThresholds | None = None,
) -> PhotographScorer:
    """Compose the scorer from settings.

    regressor: a path, or empty for the one that the generator's card names. precision: of Newton's steps
    (`models.precision`). quality: what a photograph must be like, None for the defaults. Raises
    GeneratorError, RegressorError, PrecisionError or WeightsMissingError, each saying what to do.
    """
    keep_freed_memory()
    chosen = load_generator(generator, choose_device(device))
    if not regressor and not chosen.card.regressor:
        raise RegressorError(
            f"scoring.regressor: no regressor belongs to {chosen.name}; fit one on rated photographs with "
            "`facenorm calibrate` and name it here"
        )
    path = Path(regressor) if regressor else chosen.folder / chosen.card.regressor
    return PhotographScorer(measuring_on(chosen, profile, seed, precision, quality), load_regressor(path))
