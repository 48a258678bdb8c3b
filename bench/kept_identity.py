"""Is the person kept, and the anomaly removed? By embedding and by pixels, for each profile.

Of every deformed photograph, its normalized face and its raw inversion, and the same photograph undeformed:

- identity: distance of dlib's embeddings of photograph and picture, as a share of the median between
  photographs of different people; 1 is a stranger;
- left: what is left of the anomaly inside its area, the part of (picture - undeformed) that lies along
  (deformed - undeformed); 1 is all of it, and what the generator draws otherwise does not count;
- outside: mean absolute difference of picture and undeformed photograph off that area, inside the mask, in
  grey levels.

Latents are those that `bench.measure_cases` kept of people with anomalies at full severity (--rows), and
those that `bench.compare_profiles` kept of twelve photographs under two profiles (--profiles).

    python -m bench.kept_identity --photos DIR --rows out/validation --profiles out/profiles
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import load_file

from bench.compare_profiles import deformed, kind_of, severity_of
from bench.validation_cases import NEUTRAL, Case, cases_of_people, people, photograph_of
from bench.validation_pictures import case_picture
from models.catalog import GENERATOR
from models.generator import Generator, choose_device, load_generator
from pipeline.alignment import align
from pipeline.face import FaceFinder, load_face_finder
from pipeline.face_embedding import FaceEmbedder, load_face_embedder
from pipeline.features import to_picture
from pipeline.locating import AlignedFace, locate_face
from pipeline.photograph import read_photograph
from pipeline.stopwatch import Stopwatch

_CHANGED = 8
"""Grey levels by which a pixel of the anomaly's area differs, after smoothing."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A deformed photograph and itself undeformed, in one frame, with the latents found of it.

    profile: that it was normalized under. undeformed: uint8 (S, S, 3). latents: a file of w_norm and w_raw.
    """

    profile: str
    kind: str
    face: AlignedFace
    undeformed: NDArray[np.uint8]
    latents: Path


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--photos", type=Path, required=True, help="a folder of frontal photographs")
    arguments.add_argument("--rows", type=Path, default=Path("out/validation"))
    arguments.add_argument("--profiles", type=Path, default=Path("out/profiles"))
    arguments.add_argument("--output", type=Path, default=Path("bench/results/kept_identity.json"))
    options = arguments.parse_args()
    generator, embedder, finder = _tools()
    strangers = between_people(embedder, finder, options.photos)
    subjects = [*_of_rows(options.photos, options.rows), *_of_profiles(finder, options)]
    if not subjects:
        raise SystemExit("no latents were found; see --rows and --profiles")
    found: list[dict[str, float | str]] = [
        {"profile": one.profile, "kind": one.kind, **figures(generator, embedder, one, strangers)}
        for one in track(subjects, "Faces")
    ]
    record = {"between_people": round(strangers, 3), "faces": found}
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print("\n".join(as_table(found)))


def _tools() -> tuple[Generator, FaceEmbedder, FaceFinder]:
    return load_generator(GENERATOR, choose_device("auto")), load_face_embedder(), load_face_finder()


def between_people(embedder: FaceEmbedder, finder: FaceFinder, photos: Path) -> float:
    """Return the median distance of the embeddings of different people's neutral photographs."""
    vectors = []
    for person in people(photos):
        photograph = read_photograph(photograph_of(photos, person, NEUTRAL))
        face = locate_face(finder, photograph, Stopwatch())
        vectors.append(embedder.embed(face.picture, face.landmarks))
    return float(np.median([np.linalg.norm(a - b) for a, b in combinations(vectors, 2)]))


def _of_rows(photos: Path, rows: Path) -> Iterator[Subject]:
    """Yield the people with an anomaly at full severity whose rows are there."""
    for case in cases_of_people(photos, ("tuning", "held_out")):
        path = rows / f"{case.name}.safetensors"
        if case.level == 1.0 and path.exists():
            face = case_picture(case, photos, None).face
            if face is not None:
                yield Subject("fast, people", case.kind, face, _undeformed(photos, case, face), path)


def _undeformed(photos: Path, case: Case, face: AlignedFace) -> NDArray[np.uint8]:
    return align(read_photograph(photograph_of(photos, case.person, NEUTRAL)), face.alignment)


def _of_profiles(finder: FaceFinder, options: argparse.Namespace) -> Iterator[Subject]:
    """Yield the deformed photographs of `bench.compare_profiles`, under each profile that it kept."""
    for number, path in enumerate(sorted(options.photos.glob("*_03.jpg"))):
        kept = sorted(options.profiles.glob(f"{number:04d}-*.safetensors"))
        if not kept or not severity_of(number):
            continue
        plain = locate_face(finder, read_photograph(path), Stopwatch())
        face, kind = deformed(plain, number), kind_of(number)
        for latents in kept:
            profile = latents.name.split("-")[1]
            yield Subject(f"{profile}, the twelve", str(kind), face, plain.picture, latents)


@torch.no_grad()
def figures(
    generator: Generator, embedder: FaceEmbedder, subject: Subject, strangers: float
) -> dict[str, float]:
    """Return identity, left and outside of the normalized face and of the raw inversion."""
    latents = load_file(subject.latents)
    photograph, landmarks = subject.face.picture, subject.face.landmarks
    own = embedder.embed(photograph, landmarks)
    area, outside = _areas(subject)
    values: dict[str, float] = {"area": round(float(area.mean()), 4)}
    for name, w in (("norm", latents["w_norm"][:1]), ("raw", latents["w_raw"][None])):
        picture = _drawn(generator, w.float().to(generator.device), photograph.shape[0])
        distance = float(np.linalg.norm(own - embedder.embed(picture, landmarks))) / strangers
        values |= {
            f"{name}_identity": round(distance, 3),
            f"{name}_left": round(_left(picture, subject, area), 3),
            f"{name}_outside": round(float(_difference(picture, subject.undeformed)[outside].mean()), 2),
        }
    return values


def _drawn(generator: Generator, w: torch.Tensor, side: int) -> NDArray[np.uint8]:
    picture = to_picture(generator.network.synthesis(w)[0])
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _areas(subject: Subject) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where the anomaly is, and where the face is and the anomaly is not; (S, S)."""
    change = cv2.GaussianBlur(_difference(subject.face.picture, subject.undeformed), (0, 0), 4)
    inside = subject.face.mask > 0
    return (change > _CHANGED) & inside, (change < _CHANGED / 4) & inside


def _difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.abs(a.astype(np.float32) - b.astype(np.float32)).mean(2)


def _left(picture: NDArray[np.uint8], subject: Subject, area: NDArray[np.bool_]) -> float:
    if not area.any():
        return float("nan")
    base = subject.undeformed.astype(np.float32)
    anomaly = (subject.face.picture - base)[area]
    return float(((picture - base)[area] * anomaly).sum() / (anomaly * anomaly).sum())


def as_table(found: list[dict[str, float | str]]) -> list[str]:
    """Return the lines of a Markdown table: medians by profile."""
    keys = [f"{which}_{what}" for what in ("identity", "left", "outside") for which in ("norm", "raw")]
    lines = [
        "| profile | faces | identity, normalized | raw | left, normalized | raw "
        "| outside, normalized | raw |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for profile in dict.fromkeys(str(one["profile"]) for one in found):
        chosen = [one for one in found if one["profile"] == profile]
        medians = [np.nanmedian([float(one[key]) for one in chosen]) for key in keys]
        lines.append(f"| {profile} | {len(chosen)} | " + " | ".join(f"{m:.2f}" for m in medians) + " |")
    return lines


if __name__ == "__main__":
    main()
