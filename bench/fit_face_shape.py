"""Fits the shape model that keeps one displaced part from tilting the frame (`pipeline.face_shape`).

The depth of the landmarks comes from the same faces: what moves them sideways, and their mirror images the
other way, is the turn of the head, in proportion to depth. Its unit is set by the nose, whose tip stands some
45 mm before the outer corners of the eyes, where the middles of the eyes are some 62 mm apart.

Mean and modes of the landmarks of generated faces and their mirror images; nobody's photograph is needed:

    python -m bench.fit_face_shape
    python -m bench.fit_face_shape --faces 500 --modes 8 --seed 5000
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

import pipeline.face_shape
from models.catalog import GENERATOR
from models.generator import choose_device, load_generator
from pipeline.alignment import ALIGNED_SIDE
from pipeline.face import load_face_finder
from pipeline.face_shape import MIRRORED, landmark_weights
from pipeline.generated_face import generated_face
from pipeline.rejection import UnscorablePhotographError

Points = NDArray[np.float64]

_TRUNCATION = 0.7
_NOSE_TIP, _OUTER_CORNERS = 30, (36, 45)
_NOSE_OVER_EYES = 45 / 62


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--faces", type=int, default=200)
    arguments.add_argument("--modes", type=int, default=6)
    arguments.add_argument("--seed", type=int, default=5000, help="the first face's; the others follow")
    options = arguments.parse_args()
    shapes = found_landmarks(options.faces, options.seed)
    mean, modes, deviations = fit_shape(shapes, options.modes)
    path = Path(pipeline.face_shape.__file__).parent / "data" / "face_shape.json"
    kept = {"mean": mean, "modes": modes, "deviations": deviations, "depth": fit_depth(shapes)}
    lines = (f" {json.dumps(name)}: {json.dumps(values.round(5).tolist())}" for name, values in kept.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{path}: deviations of the modes {deviations.round(4).tolist()}, as shares of the frame")


def found_landmarks(faces: int, seed: int) -> Points:
    """Return the landmarks of generated faces, (N, 68, 2), in shares of the frame from its middle."""
    generator, finder = load_generator(GENERATOR, choose_device("auto")), load_face_finder()
    found = []
    for number in track(range(seed, seed + faces), "Faces"):
        random = torch.Generator().manual_seed(number)
        z = torch.randn(1, generator.network.w_dim, generator=random)
        try:
            found.append(finder.find(generated_face(generator, z, _TRUNCATION)).landmarks)
        except UnscorablePhotographError:
            continue
    return (np.array(found) - (ALIGNED_SIDE - 1) / 2) / ALIGNED_SIDE


def fit_shape(shapes: Points, modes: int) -> tuple[Points, Points, Points]:
    """Return mean (68, 2), modes (K, 68, 2) and their deviations (K,) of shapes (N, 68, 2) and mirror images.

    Every shape is brought to the mean by a similarity first; points without a weight have none in the modes.
    """
    both = np.concatenate([shapes, shapes[:, MIRRORED] * (-1, 1)])
    weights = landmark_weights()
    raw, mean = both @ np.array([1, 1j]), both.mean(0) @ np.array([1, 1j])
    mean = mean - (weights @ mean) / weights.sum()
    centred = raw - (raw @ weights / weights.sum())[:, None]
    turns = (centred.conj() * weights) @ mean / (np.abs(centred) ** 2 @ weights)
    laid = centred * turns[:, None]
    mean = laid.mean(0)
    counted = weights > 0
    rest = np.where(counted, laid - mean, 0)
    flat = np.concatenate([rest.real, rest.imag], 1)
    _, sizes, vectors = np.linalg.svd(flat, full_matrices=False)
    kept = vectors[:modes]
    return (
        np.stack([mean.real, mean.imag], 1),
        np.stack([kept[:, :68], kept[:, 68:]], 2),
        sizes[:modes] / np.sqrt(len(both)),
    )


def fit_depth(shapes: Points) -> Points:
    """Return the depth of the landmarks, (68,), in shares of the frame, of shapes (N, 68, 2)."""
    mean = np.concatenate([shapes, shapes[:, MIRRORED] * (-1, 1)]).mean(0)
    centred = (shapes - shapes.mean(1, keepdims=True)) @ np.array([1, 1j])
    there = (mean - mean.mean(0)) @ np.array([1, 1j])
    turns = (centred.conj() @ there) / (np.abs(centred) ** 2).sum(1)
    across = (centred * turns[:, None]).real
    sideways = (across + across[:, MIRRORED]) / 2
    _, _, vectors = np.linalg.svd(sideways - sideways.mean(1, keepdims=True), full_matrices=False)
    depth = (vectors[0] + vectors[0][list(MIRRORED)]) / 2
    depth = depth - depth[list(_OUTER_CORNERS)].mean()
    eyes = np.linalg.norm(mean[42:48].mean(0) - mean[36:42].mean(0))
    return np.asarray(depth / depth[_NOSE_TIP] * _NOSE_OVER_EYES * eyes)


if __name__ == "__main__":
    main()
