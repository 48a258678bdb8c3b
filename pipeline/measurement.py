"""From a photograph's pixels to the distances of its face from the normalized one, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.generator import Generator
from models.lpips import Lpips
from pipeline.anomaly_map import anomaly_map, judged_map
from pipeline.descent import Progress
from pipeline.drawn_face import drawn_face
from pipeline.face import FaceFinder
from pipeline.features import FEATURE_SIDE, FeatureExtractor, to_picture, to_tensor
from pipeline.latents import Latents
from pipeline.learned_features import learned_features
from pipeline.locating import AlignedFace, locate_face
from pipeline.newton_normalization import StepEngine
from pipeline.normalization import normalize_batch
from pipeline.profile import Profile
from pipeline.result import Features
from pipeline.stopwatch import Stopwatch


@dataclass(frozen=True, slots=True)
class Measurement:
    """How far a face is from its normalized version.

    features, local_features, further_features: one for each of the K candidates. normalized: the nearest
    candidate's picture, uint8 RGB at the generator's resolution. anomaly_map: where it deviates, float32
    (`FEATURE_SIDE`, `FEATURE_SIDE`), 0 off the mask (`pipeline.anomaly_map`). latents: of all candidates.
    judged_map: where the anomaly network sees something, of the same side; None without one.
    """

    features: list[Features]
    local_features: list[dict[str, float]]
    further_features: list[dict[str, float]]
    normalized: NDArray[np.uint8]
    anomaly_map: NDArray[np.float32]
    latents: Latents
    judged_map: NDArray[np.float32] | None = None


class FaceMeasurer:
    """Finds, aligns, normalizes and measures faces under one profile."""

    def __init__(
        self,
        generator: Generator,
        metric: Lpips,
        faces: FaceFinder,
        profile: Profile,
        seed: int,
        similarity_metric: Lpips | None = None,
        engine: StepEngine | None = None,
    ) -> None:
        """Take what measures, and how.

        similarity_metric: what the optimisation measures L_S with, where that is not `metric`. engine: what
        Newton's steps are computed with, plain float32 by default.
        """
        self._similarity_metric, self._engine = similarity_metric, engine
        self._generator, self._metric, self._faces = generator, metric, faces
        self._profile, self._seed = profile, seed

    def locate(
        self, rgb: NDArray[np.uint8], watch: Stopwatch, landmarks: NDArray[np.float64] | None = None
    ) -> AlignedFace:
        """Find and align the face, as `pipeline.locating.locate_face`; raises UnscorablePhotographError."""
        return locate_face(self._faces, rgb, watch, landmarks)

    def measure(self, face: AlignedFace, watch: Stopwatch, progress: Progress | None = None) -> Measurement:
        """Normalize the face and measure every candidate."""
        return self.measure_batch([face], watch, progress)[0]

    def measure_batch(
        self, faces: Sequence[AlignedFace], watch: Stopwatch, progress: Progress | None = None
    ) -> list[Measurement]:
        """Normalize the faces together and measure every candidate of each; `watch` sees all at once."""
        device = self._generator.device
        pictures = torch.stack([to_tensor(face.picture, device) for face in faces])
        masks = torch.stack([torch.from_numpy(face.mask).to(device) for face in faces])
        with watch.stage("normalize"):
            found = normalize_batch(
                self._generator,
                self._metric,
                pictures,
                masks,
                self._profile,
                self._seed,
                progress,
                self._similarity_metric,
                self._engine,
            )
            if device.type == "cuda":  # which works on while the program goes ahead
                torch.cuda.synchronize(device)
        with watch.stage("features"), torch.no_grad():
            return [
                self._measured(picture, mask, latents)
                for picture, mask, latents in zip(pictures, masks, found, strict=True)
            ]

    def let_go_of_memory(self) -> None:
        """Free what a GPU holds for what may come, recorded steps included."""
        if self._engine is not None:
            self._engine.captures.forget()
        if self._generator.device.type == "cuda":
            torch.cuda.empty_cache()

    def _measured(self, x_raw: Tensor, mask: Tensor, latents: Latents) -> Measurement:
        generator = self._generator
        extractor = FeatureExtractor(self._metric, x_raw, mask, generator.covariance)
        features, local, further, maps, judged = [], [], [], [], []
        # On a CPU one picture at a time: the full network's activations for K of them would take gigabytes.
        together = len(latents.w_norm) if generator.device.type == "cuda" else 1
        for w_norm in torch.split(latents.w_norm, together):
            x_norm = drawn_face(generator, w_norm, mask, FEATURE_SIDE)
            features += extractor.compare(x_norm, latents.w_raw, w_norm)
            whole, fine = extractor.maps(x_norm)
            located = extractor.locate(x_norm, whole)
            maps.append(fine)
            if generator.anomaly_network is not None:
                answer = extractor.judged(generator.anomaly_network.network, x_norm)
                learned = learned_features(answer, extractor.cells)
                located = [{**a, **b} for a, b in zip(located, learned, strict=True)]
                judged.append(answer.map)
            local += located
            further += extractor.compare_further(x_norm, latents.w_raw, w_norm)
        nearest = int(np.argmin([f.d_xperc for f in features]))
        best = to_picture(generator.network.synthesis(latents.w_norm[nearest, None])[0])
        return Measurement(
            features,
            local,
            further,
            best,
            anomaly_map(torch.cat(maps), extractor.mask),
            latents,
            judged_map(torch.cat(judged), FEATURE_SIDE) if judged else None,
        )
