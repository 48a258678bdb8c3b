"""How surely faces with an anomaly are found, how far their landmarks drift, before and after the fallbacks.

Anomalies are drawn on faces; where each landmark should then be is known from the drawing's own displacement.
Beside that, the same undeformed faces as a camera may bring them: turned, leaning, small, half covered.
"Before" is the frontal detector on the upright photograph and a single fit of the landmarks. Drift is the
mean over the landmarks in px of the 1024 frame. On generated faces, and with --photos on real ones:

    python -m bench.face_finding --faces 8
    python -m bench.face_finding --faces 8 --photos PHOTOS
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import dlib
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from models.cache import cached_path
from models.catalog import GENERATOR, LANDMARKS
from models.generator import choose_device, load_generator
from pipeline import anomaly_colours, anomaly_free, anomaly_shapes
from pipeline.alignment import ALIGNED_SIDE, align, find_alignment
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.face import FaceFinder, load_face_finder
from pipeline.face_detection import DETECTION_SIDE, reduced
from pipeline.generated_face import generated_face
from pipeline.photograph import read_photograph
from pipeline.rejection import UnscorablePhotographError
from pipeline.warp import Bump, moved_points, warped

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]
Find = Callable[[Picture], Points | None]

_SEVERITIES = (0.5, 1.0)
_TRUNCATION = 0.7
_ELSEWHERE = 0.25  # of the face: landmarks that lie so far off are those of something else


@dataclass(frozen=True, slots=True)
class Case:
    """A picture, where it brings the undeformed face's points, and how many of its pixels one of theirs is.

    seen: from where on, to the right, nothing of the face is left.
    """

    name: str
    severity: float
    picture: Picture
    moved: Callable[[Points], Points]
    scale: float = 1.0
    seen: float = np.inf


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--faces", type=int, default=8)
    arguments.add_argument("--photos", type=Path, help="a folder with photographs of faces")
    arguments.add_argument("--output", type=Path, default=Path("out/face_finding.json"))
    options = arguments.parse_args()
    finder = load_face_finder()
    methods = {"before": frontal_only(), "after": lambda picture: _found(finder, picture)}
    records = []
    for face in track(list(faces(options.faces, options.photos, finder)), "Faces"):
        undeformed = {name: find(face) for name, find in methods.items()}
        if (base := undeformed["after"]) is None:
            continue
        for case in (*drawn(face, base), *taken(face)):
            for name, find in methods.items():
                # Each is held against what it says itself of the undeformed face.
                own = undeformed[name]
                drift = _drift(case, find(case.picture), base if own is None else own)
                records.append({"case": case.name, "severity": case.severity, "method": name, "drift": drift})
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(records), encoding="utf-8")
    print("\n".join(as_table(records)))


def faces(number: int, photos: Path | None, finder: FaceFinder) -> Iterator[Picture]:
    """Yield aligned faces: generated ones, or with `photos` those of every fourth photograph."""
    if photos is not None:
        for path in sorted(photos.glob("*.jpg"))[::4][:number]:
            rgb = read_photograph(path)
            yield align(rgb, find_alignment(finder.find(rgb).landmarks))
        return
    generator = load_generator(GENERATOR, choose_device("auto"))
    for seed in range(number):
        z = torch.randn(1, generator.network.w_dim, generator=torch.Generator().manual_seed(seed))
        yield generated_face(generator, z, _TRUNCATION)


def frontal_only() -> Find:
    """Return the finder without any fallback."""
    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(str(cached_path(LANDMARKS, "shape_predictor_68_face_landmarks.dat")))

    def find(picture: Picture) -> Points | None:
        for side, upsample in ((DETECTION_SIDE, 0), (2 * DETECTION_SIDE, 0), (2 * DETECTION_SIDE, 1)):
            small, factor = reduced(picture, side)
            boxes, confidences, _ = detector.run(np.ascontiguousarray(small), upsample, 0.0)
            if len(boxes) > 0:
                box = boxes[int(np.argmax(confidences))]
                edges = (round(v / factor) for v in (box.left(), box.top(), box.right(), box.bottom()))
                shape = predictor(picture, dlib.rectangle(*edges))
                return np.array([(shape.part(n).x, shape.part(n).y) for n in range(68)], dtype=np.float64)
        return None

    return find


def drawn(face: Picture, landmarks: Points) -> Iterator[Case]:
    """Yield the face with every kind of anomaly, and where the drawing moved the landmarks."""
    for kind in AnomalyKind:
        for severity in _SEVERITIES:
            with recorded_bumps() as steps:
                picture = draw_anomaly(face, landmarks, kind, severity, seed=0)
            yield Case(kind.value, severity, picture, partial(moved_by, steps=steps))


def taken(face: Picture) -> Iterator[Case]:
    """Yield the undeformed face as a camera may bring it."""
    matrices = {f"leaning {degrees}°": (degrees, 0.7) for degrees in (20, 40, 60)}
    matrices |= {"on its side": (90, 0.9), "upside down": (180, 0.9), "230 px": (0, 0.4)}
    middle = (ALIGNED_SIDE / 2, ALIGNED_SIDE / 2)
    for name, (degrees, scale) in matrices.items():
        matrix = np.asarray(cv2.getRotationMatrix2D(middle, degrees, scale), dtype=np.float64)
        picture = cv2.warpAffine(face, matrix, face.shape[:2], flags=cv2.INTER_AREA, borderValue=(120,) * 3)
        yield Case(name, 0, np.asarray(picture, dtype=np.uint8), partial(_turned_by, matrix=matrix), scale)
    half = face.copy()
    half[:, ALIGNED_SIDE // 2 :] = 120
    yield Case("one half covered", 0, half, lambda points: points, seen=ALIGNED_SIDE / 2)


def moved_by(points: Points, steps: Sequence[Sequence[Bump]]) -> Points:
    """Return where these displacements, one after the other, bring the points (N, 2)."""
    for bumps in steps:
        points = moved_points(points, bumps)
    return points


def _turned_by(points: Points, matrix: Points) -> Points:
    return points @ matrix[:, :2].T + matrix[:, 2]


@contextmanager
def recorded_bumps() -> Iterator[list[Sequence[Bump]]]:
    """Give the displacements of everything that is drawn meanwhile."""
    steps: list[Sequence[Bump]] = []

    def recording(face: Picture, bumps: Sequence[Bump]) -> Picture:
        steps.append(list(bumps))
        return warped(face, bumps)

    modules = (anomaly_shapes, anomaly_colours, anomaly_free)
    for module in modules:
        setattr(module, "warped", recording)  # noqa: B010 - typed attribute of a module
    try:
        yield steps
    finally:
        for module in modules:
            setattr(module, "warped", warped)  # noqa: B010


def _found(finder: FaceFinder, picture: Picture) -> Points | None:
    try:
        return finder.find(picture).landmarks
    except UnscorablePhotographError:
        return None


def _drift(case: Case, found: Points | None, undeformed: Points) -> float | None:
    """Return the mean drift of the landmarks, None where the face was not found or found elsewhere."""
    if found is None:
        return None
    expected = case.moved(undeformed)
    drift = float(np.linalg.norm(found - expected, axis=1)[expected[:, 0] < case.seen].mean())
    return None if drift > _ELSEWHERE * np.ptp(expected, axis=0).max() else drift / case.scale


def as_table(records: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the records as lines of a Markdown table."""
    lines = [
        "| case | severity | found before | found after | drift before | drift after |",
        "|---|---|---|---|---|---|",
    ]
    for case, severity in dict.fromkeys((r["case"], r["severity"]) for r in records):
        cells = []
        for method in ("before", "after"):
            of = [r for r in records if (r["case"], r["severity"], r["method"]) == (case, severity, method)]
            drifts = [float(str(r["drift"])) for r in of if r["drift"] is not None]
            cells.append((f"{len(drifts)} of {len(of)}", f"{np.mean(drifts):.1f}" if drifts else "-"))
        shown = f"{severity:g}" if severity else "-"
        name = str(case).replace("_", " ")
        lines.append(f"| {name} | {shown} | {cells[0][0]} | {cells[1][0]} | {cells[0][1]} | {cells[1][1]} |")
    return lines


if __name__ == "__main__":
    main()
