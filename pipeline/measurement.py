"""From a photograph's pixels to the distances of its face from the normalized one, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.generator import Generator
from models.lpips import Lpips
from pipeline.compared_candidates import Measurement, compare_candidates
from pipeline.descent import Progress
from pipeline.face import FaceFinder
from pipeline.features import to_tensor
from pipeline.latents import Latents
from pipeline.locating import AlignedFace, locate_face
from pipeline.newton_normalization import StepEngine
from pipeline.normalization import normalize_batch
from pipeline.profile import Profile
from pipeline.shape_features import shape_features
from pipeline.stopwatch import Stopwatch

# Drawing K = 5 candidates of a face takes 0.7 GB (measured on a CPU).
_MOST_FACES: Final = 4


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
        pictures, masks = self._tensors(faces)
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
            if pictures.device.type == "cuda":  # which works on while the program goes ahead
                torch.cuda.synchronize(pictures.device)
        with watch.stage("features"):
            step = self._faces_at_once(len(faces))
            parts = [slice(n, n + step) for n in range(0, len(faces), step)]
            return [
                one
                for part in parts
                for one in self._compared(faces[part], pictures[part], masks[part], found[part])
            ]

    def compare(self, face: AlignedFace, latents: Latents) -> Measurement:
        """Measure a face whose candidates are known."""
        return self._compared([face], *self._tensors([face]), [latents])[0]

    def _tensors(self, faces: Sequence[AlignedFace]) -> tuple[Tensor, Tensor]:
        """Return the pictures (F, 3, H, W) in [-1, 1] and the masks (F, H, W)."""
        device = self._generator.device
        pictures = torch.stack([to_tensor(face.picture, device) for face in faces])
        return pictures, torch.stack([torch.from_numpy(face.mask).to(device) for face in faces])

    def _compared(
        self, faces: Sequence[AlignedFace], pictures: Tensor, masks: Tensor, latents: Sequence[Latents]
    ) -> list[Measurement]:
        """Compare faces with their candidates. The shape features are of the nearest, the same for all."""
        measured = []
        for face, found in zip(
            faces, compare_candidates(self._generator, self._metric, pictures, masks, latents), strict=True
        ):
            shape = shape_features(self._faces, face.picture, face.landmarks, found.normalized)
            measured.append(replace(found, local_features=[one | shape for one in found.local_features]))
        return measured

    def let_go_of_memory(self) -> None:
        """Free what a GPU holds for what may come, recorded steps included."""
        if self._engine is not None:
            self._engine.captures.forget()
        if self._generator.device.type == "cuda":
            torch.cuda.empty_cache()

    def _faces_at_once(self, faces: int) -> int:
        """Return how many of so many faces are measured together.

        They share out evenly, so that what comes out for a face does not depend on its place.
        """
        if self._generator.device.type != "cuda":
            return 1
        return next(n for n in range(_MOST_FACES, 0, -1) if faces % n == 0)
