"""One photograph in, one score or rejection out: the stages in order, timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.cache import cached_path
from models.catalog import LANDMARKS, LPIPS_TRUNKS
from models.generator import Generator, GeneratorError, choose_device, load_generator
from models.lpips import Lpips
from models.regressor import Regressor, RegressorError, load_regressor
from pipeline.alignment import Alignment, align, find_alignment
from pipeline.face import FaceFinder
from pipeline.features import FeatureExtractor, mean_features, to_picture, to_tensor
from pipeline.mask import face_mask, outline_in_photograph
from pipeline.normalization import Profile, Progress, normalize
from pipeline.photograph import read_photograph
from pipeline.rejection import UnscorablePhotographError
from pipeline.result import FaceImages, Features, Provenance, Rejection, Score, Scored

Clock = Callable[[], float]


class Stopwatch:
    """Wall-clock seconds by stage."""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to `name`."""
        began = self._clock()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + self._clock() - began, 4)


@dataclass(frozen=True, slots=True)
class AlignedFace:
    """A face in the generator's frame.

    picture: uint8 (1024, 1024, 3). landmarks: (68, 2) in that frame. mask: float32 (1024, 1024).
    """

    picture: NDArray[np.uint8]
    landmarks: NDArray[np.float64]
    mask: NDArray[np.float32]
    alignment: Alignment


class PhotographScorer:
    """Scores photographs with one generator, metric, profile and regressor."""

    def __init__(
        self,
        generator: Generator,
        metric: Lpips,
        faces: FaceFinder,
        regressor: Regressor,
        profile_name: str,
        seed: int = 0,
    ) -> None:
        """Raise GeneratorError for an unknown profile, RegressorError where the regressor is another's."""
        if profile_name not in generator.card.profiles:
            names = ", ".join(sorted(generator.card.profiles))
            raise GeneratorError(
                f"scoring.profile: {generator.name} has no profile {profile_name!r}; it has {names}"
            )
        if regressor.generator_sha256 != generator.sha256:
            raise RegressorError(
                f"scoring.regressor: {regressor.name} was fitted on features of {regressor.generator}, not of "
                f"these weights of {generator.name}; choose its own regressor or calibrate one"
            )
        self._generator, self._metric, self._faces, self._regressor = generator, metric, faces, regressor
        self._profile = Profile.from_card(generator.card.profiles[profile_name])
        self._seed = seed
        self.provenance = Provenance(
            generator=generator.name,
            generator_sha256=generator.sha256,
            metric=f"lpips-{metric.trunk}",
            regressor=regressor.name,
            regressor_sha256=regressor.sha256,
            regressor_is_synthetic=regressor.synthetic,
            profile=profile_name,
            seed=seed,
            software_version=version("facenorm"),
            settings=self._profile.as_dict(),
        )

    def score_file(self, path: Path, progress: Progress | None = None) -> Scored | Rejection:
        """Score a JPEG, PNG or DICOM file."""
        watch = Stopwatch()
        try:
            with watch.stage("decode"):
                rgb = read_photograph(path)
        except UnscorablePhotographError as error:
            return self._rejected(error, watch)
        return self._score(rgb, watch, progress)

    def score(self, rgb: NDArray[np.uint8], progress: Progress | None = None) -> Scored | Rejection:
        """Score a photograph, uint8 (rows, columns, 3)."""
        return self._score(rgb, Stopwatch(), progress)

    def _score(
        self, rgb: NDArray[np.uint8], watch: Stopwatch, progress: Progress | None
    ) -> Scored | Rejection:
        try:
            face = self.locate(rgb, watch)
        except UnscorablePhotographError as error:
            return self._rejected(error, watch)
        features, normalized = self.measure(face, watch, progress)
        scores = [self._regressor.predict(f.as_dict()) for f in features]
        mean = mean_features(features)
        score = Score(
            value=round(self._regressor.predict(mean.as_dict()), 3),
            uncertainty=round(_uncertainty(scores, self._regressor.residual_std), 3),
            features=mean,
            outline=outline_in_photograph(face.landmarks, face.alignment, *rgb.shape[:2]),
            rows=rgb.shape[0],
            columns=rgb.shape[1],
            provenance=self.provenance,
            seconds=watch.seconds,
        )
        return Scored(score, _pictures(face, normalized))

    def locate(self, rgb: NDArray[np.uint8], watch: Stopwatch) -> AlignedFace:
        """Find and align the face; raises UnscorablePhotographError."""
        with watch.stage("face"):
            landmarks = self._faces.find(rgb).landmarks
        with watch.stage("align"):
            alignment = find_alignment(landmarks)
            aligned_landmarks = alignment.to_aligned(landmarks)
            return AlignedFace(
                align(rgb, alignment), aligned_landmarks, face_mask(aligned_landmarks), alignment
            )

    def measure(
        self, face: AlignedFace, watch: Stopwatch, progress: Progress | None = None
    ) -> tuple[list[Features], NDArray[np.uint8]]:
        """Return the features of each of the K candidates, and the best one's picture (uint8 RGB)."""
        generator = self._generator
        x_raw, mask = (
            to_tensor(face.picture, generator.device),
            torch.from_numpy(face.mask).to(generator.device),
        )
        with watch.stage("normalize"):
            latents = normalize(generator, self._metric, x_raw, mask, self._profile, self._seed, progress)
        with watch.stage("features"), torch.no_grad():
            extractor = FeatureExtractor(self._metric, x_raw, mask)
            best, features = None, []
            # One picture at a time: the full network's activations for K of them would take gigabytes.
            for w_norm in latents.w_norm[:, None]:
                x_norm = generator.network.synthesis(w_norm)
                features += extractor.compare(x_norm, latents.w_raw, w_norm)
                if features[-1].d_xperc == min(f.d_xperc for f in features):
                    best = to_picture(x_norm[0])
        if best is None:
            raise RuntimeError("normalization gave no candidate")
        return features, best

    def _rejected(self, error: UnscorablePhotographError, watch: Stopwatch) -> Rejection:
        found = error.rejection
        return Rejection(
            found.reason, found.detail, found.rows, found.columns, self.provenance, watch.seconds
        )


def _uncertainty(scores: list[float], residual_std: float) -> float:
    """Return one standard deviation: spread of the candidates' scores and the regressor's own error."""
    spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    return float(np.hypot(spread, residual_std))


def _pictures(face: AlignedFace, normalized: NDArray[np.uint8]) -> FaceImages:
    side = face.picture.shape[0]
    if normalized.shape[0] != side:
        normalized = np.asarray(
            cv2.resize(normalized, (side, side), interpolation=cv2.INTER_LINEAR), dtype=np.uint8
        )
    inside = face.mask[:, :, None] > 0
    grey = np.uint8(127)
    difference = np.abs(face.picture.astype(np.int16) - normalized.astype(np.int16)).max(2)
    smooth = cv2.GaussianBlur(difference.astype(np.float32), (0, 0), 6)
    heat = cv2.applyColorMap(np.clip(smooth * 3, 0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    return FaceImages(
        aligned=face.picture,
        masked=np.where(inside, face.picture, grey),
        normalized=normalized,
        difference=np.ascontiguousarray(np.where(inside, heat, grey), dtype=np.uint8),
    )


def build_scorer(
    generator: str, profile: str, device: str = "auto", regressor: str = "", seed: int = 0
) -> PhotographScorer:
    """Compose the scorer from settings.

    regressor: a path, or empty for the one that the generator's card names. Raises GeneratorError,
    RegressorError or WeightsMissingError, each saying what to do.
    """
    chosen = load_generator(generator, choose_device(device))
    metric = Lpips.load("alexnet", cached_path(LPIPS_TRUNKS, "alexnet.safetensors")).to(chosen.device)
    faces = FaceFinder(cached_path(LANDMARKS, "shape_predictor_68_face_landmarks.dat"))
    path = Path(regressor) if regressor else chosen.folder / chosen.card.regressor
    return PhotographScorer(chosen, metric, faces, load_regressor(path), profile, seed)
