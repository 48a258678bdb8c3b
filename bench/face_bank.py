"""Keeps generated faces for `bench.train_on_stream`, each with two pictures of what its normal face may be.

Normalizing takes seconds on a CPU, drawing tenths. So what stands beside a face in further training is drawn,
not normalized: a face near to its own latent, pulled to the average and a little to another face, and the
encoder's answer to the face as another camera took it, at which normalizing begins.

    python -m bench.face_bank --seconds 1500 --output out/face_bank

With --faces-only, for `bench.train_landmarks`, they are kept without those two, in a third of the time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.anomaly_examples import drawn_small, to_unit
from bench.varied_faces import DRAWING_SIDE, SEEN_SIDE, aligned_small
from models.allocator import keep_freed_memory
from models.catalog import GENERATOR
from models.generator import Generator, choose_device, load_generator
from models.lpips import Lpips, load_metric
from pipeline.alignment import ALIGNED_SIDE, find_alignment
from pipeline.capture_variation import vary_capture
from pipeline.face import FaceFinder, load_face_finder
from pipeline.features import to_picture
from pipeline.mask import face_mask
from pipeline.natural_variation import vary_person
from pipeline.normalization import average_and_goal
from pipeline.profile import Profile
from pipeline.rejection import UnscorablePhotographError

_TRUNCATION = (0.6, 1.0)
_OWN_SHARE = (0.6, 1.0)  # of a face's latent in its first reference
_OTHER_SHARE = (0.0, 0.2)  # of another's
_GOAL_SHARE = (0.6, 1.0)  # of the way to the encoder's answer, in its second
_FACES_IN_A_FILE = 50


@dataclass(frozen=True, slots=True)
class FaceBank:
    """face: uint8 (N, 256, 256, 3). landmarks: float32 (N, 68, 2), px of the 1024 frame.

    references: uint8 (N, 2, 256, 256, 3), or (N, 0, 256, 256, 3) of faces alone.
    """

    face: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    references: NDArray[np.uint8]

    @staticmethod
    def read(folder: Path) -> FaceBank:
        """Read all files of a folder; raises SystemExit where there are none."""
        parts = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
        if not parts:
            raise SystemExit(f"{folder} holds no faces: python -m bench.face_bank --output {folder}")
        return FaceBank(**{name: torch.cat([p[name] for p in parts]).numpy() for name in parts[0]})

    def person(
        self, random: np.random.Generator, varied_share: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.uint8]]:
        """Return a random face, its landmarks (68, 2) in px of it, and its references.

        varied_share: how often it gets traits of a person (`pipeline.natural_variation`).
        """
        number = int(random.integers(len(self.face)))
        landmarks = (self.landmarks[number].astype(np.float64) + 0.5) * SEEN_SIDE / ALIGNED_SIDE - 0.5
        face = self.face[number]
        if random.random() < varied_share:
            face = vary_person(face, landmarks, float(random.uniform(0, 1)), int(random.integers(2**31)))
        return face, landmarks, self.references[number]


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--seconds", type=float, default=1500)
    arguments.add_argument("--seed", type=int, default=2)
    arguments.add_argument("--faces-only", action="store_true", help="without the pictures beside them")
    arguments.add_argument("--output", type=Path, required=True, help="folder, which other seeds may share")
    options = arguments.parse_args()
    keep_freed_memory()
    options.output.mkdir(parents=True, exist_ok=True)
    device = choose_device("auto")
    metric = None if options.faces_only else load_metric(device)
    faces = banked_faces(load_generator(GENERATOR, device), metric, options.seed)
    began, kept, files = time.perf_counter(), [], 0
    with Progress() as bar:
        task = bar.add_task("faces", total=options.seconds)
        while time.perf_counter() - began < options.seconds:
            kept.append(next(faces))
            bar.update(task, completed=time.perf_counter() - began)
            if len(kept) == _FACES_IN_A_FILE:
                tensors = {
                    name: torch.from_numpy(np.stack([face[name] for face in kept])) for name in kept[0]
                }
                save_file(tensors, options.output / f"{options.seed}-{files:04d}.safetensors")
                kept, files = [], files + 1


@torch.no_grad()
def banked_faces(
    generator: Generator, metric: Lpips | None, seed: int
) -> Iterator[dict[str, NDArray[np.generic]]]:
    """Yield faces without end, each as one row of a `FaceBank`; without a metric they have no references."""
    finder, profile = load_face_finder(), Profile.from_card(generator.card.profiles["fast"])
    random, drawn = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    while True:
        z = torch.randn(2, generator.network.w_dim, generator=drawn).to(generator.device)
        own, other = (generator.network.mapping(z) - generator.w_avg).split(1)
        own = float(random.uniform(*_TRUNCATION)) * own
        picture = to_picture(generator.network.synthesis(generator.w_avg + own).clamp(-1, 1)[0])
        found = _aligned(finder, picture)
        if found is None:
            continue
        face, landmarks = found
        alone: dict[str, NDArray[np.generic]] = {"face": face, "landmarks": landmarks.astype(np.float32)}
        if metric is None:
            yield alone | {"references": np.zeros((0, *face.shape), np.uint8)}
            continue
        near = float(random.uniform(*_OWN_SHARE)) * own + float(random.uniform(*_OTHER_SHARE)) * other
        begin = _beginning(generator, metric, profile, face, landmarks, random)
        references = [to_picture(drawn_small(generator, w)[0]) for w in (generator.w_avg + near, begin)]
        yield alone | {"references": np.stack(references)}


def _aligned(
    finder: FaceFinder, picture: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]] | None:
    """Return the aligned face at 256 px and its landmarks in the frame; None where there is none."""
    half = np.asarray(cv2.resize(picture, (DRAWING_SIDE,) * 2, interpolation=cv2.INTER_AREA), np.uint8)
    try:
        landmarks = finder.find(half).landmarks
        alignment = find_alignment(landmarks)
    except (UnscorablePhotographError, ValueError):
        return None
    return aligned_small(half, alignment), alignment.to_aligned(landmarks)


def _beginning(
    generator: Generator,
    metric: Lpips,
    profile: Profile,
    face: NDArray[np.uint8],
    landmarks: NDArray[np.float64],
    random: np.random.Generator,
) -> Tensor:
    """Return w (1, w_dim) some of the way from the average to what the encoder answers."""
    mask = cv2.resize(face_mask(landmarks), (SEEN_SIDE,) * 2, interpolation=cv2.INTER_AREA)
    taken = vary_capture(face, float(random.uniform(0, 1)), int(random.integers(2**31)))
    seen = to_unit(torch.from_numpy(taken).permute(2, 0, 1)[None].to(generator.device))
    masks = torch.from_numpy(mask)[None].to(generator.device)
    average, goal = average_and_goal(generator, metric, seen, masks, profile)
    return average + float(random.uniform(*_GOAL_SHARE)) * (goal - average)


if __name__ == "__main__":
    main()
