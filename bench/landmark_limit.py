"""How far displaced features would stand out if the landmarks followed them: a limit of every shape feature.

dlib's landmarks follow half of a displacement. Anomalies are drawn at full severity on people of --photos,
and figures of the landmarks are taken as dlib finds them, as a network has moved them
(`bench.train_landmarks`), and where the drawing brings those of the undeformed face. Told is how far they lie
from the mean of the undeformed people, in their deviations.

    python -m bench.landmark_limit --photos DIR --refiner FILE --output bench/results/landmark_limit.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from bench.face_finding import moved_by, recorded_bumps
from bench.landmark_refiner import LandmarkRefiner, load_landmark_refiner
from bench.validation_cases import NEUTRAL, Case, people, photograph_of
from bench.validation_pictures import drawing_amplitude, located, tools
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.face_shape import MIRRORED, PARTS, Complex, Points, load_face_shape
from pipeline.locating import AlignedFace
from pipeline.photograph import read_photograph
from pipeline.shape_features import displacement

_KINDS = (
    AnomalyKind.CHEEK_SWELLING, AnomalyKind.CHIN_SMALL, AnomalyKind.CLEFT_LIP, AnomalyKind.EYE_DISPLACED,
    AnomalyKind.EYES_WIDE_SET, AnomalyKind.JAW_DEVIATION, AnomalyKind.MOUTH_DROOP, AnomalyKind.NOSE_DEVIATION,
)  # fmt: skip
_WAYS = ("found", "moved", "there")
_EVERY = 3  # people of whom one is drawn on
_EYES, _MOUTH = (list(range(36, 42)), list(range(42, 48))), (48, 54)
CHIN = list(range(6, 11))


@dataclass(frozen=True, slots=True)
class Marked:
    """kind: what is drawn, or "". figures: by whose landmarks, `_WAYS`, then by name."""

    kind: str
    figures: Mapping[str, Mapping[str, float]]


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--photos", type=Path, required=True)
    arguments.add_argument("--refiner", type=Path, required=True, help="the network")
    arguments.add_argument("--output", type=Path, required=True)
    options = arguments.parse_args()
    refiner = load_landmark_refiner(options.refiner)
    marked = [one for part in marked_people(options.photos, refiner) for one in part]
    record = limits(marked)
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    print("\n".join(as_table(record)))


def marked_people(photos: Path, refiner: LandmarkRefiner) -> Iterator[list[Marked]]:
    """Yield each person's landmarks, undeformed and, of every third, with every kind of displacement."""
    finder, metric = tools()
    for number, person in enumerate(track(list(people(photos)), "people")):
        rgb = read_photograph(photograph_of(photos, person, NEUTRAL))
        face = located(finder, rgb)
        if face is None:
            continue
        marked = [_marked("", face, face.landmarks, refiner)]
        landmarks = face.alignment.to_photograph(face.landmarks)
        for kind in _KINDS if number % _EVERY == 0 else ():
            case = Case(person, "", kind=str(kind), level=1.0, seed=number)
            amplitude = drawing_amplitude(metric, face, kind, case)
            with recorded_bumps() as steps:
                deformed = draw_anomaly(rgb, landmarks, kind, amplitude, case.seed)
            found = located(finder, deformed)
            if found is not None:
                there = found.alignment.to_aligned(moved_by(landmarks, steps))
                marked.append(_marked(str(kind), found, there, refiner))
        yield marked


def _marked(kind: str, face: AlignedFace, there: Points, refiner: LandmarkRefiner) -> Marked:
    """there: (68, 2) in px of the frame, where the drawing brings the landmarks."""
    side = len(face.picture)
    (moved,) = refiner.refined([face.picture], [(face.landmarks + 0.5) / side])
    all_ways = face.landmarks, moved * side - 0.5, there
    return Marked(kind, {way: figures(one) for way, one in zip(_WAYS, all_ways, strict=True)})


def figures(landmarks: Points) -> dict[str, float]:
    """Return figures of landmarks (68, 2), none of which knows another face of the person."""
    apart, (off, agreement) = from_mirror(landmarks), from_model(landmarks)
    eyes = [landmarks[eye].mean(0) for eye in _EYES]
    height = float(np.hypot(*(landmarks[8] - (eyes[0] + eyes[1]) / 2)))
    return {
        "disagreement": 1 - agreement,
        "farthest part": farthest(off),
        "most one-sided part": farthest(apart),
        "one-sided chin": float(np.abs(apart[CHIN]).mean()),
        "eyes apart, in heights": float(np.hypot(*(eyes[1] - eyes[0]))) / height,
        "tilt of the mouth": abs(tilt(landmarks)),
    }


def from_mirror(landmarks: Points) -> Complex:
    """Return how far each landmark lies from where the mirror image has it, (68,), x + iy."""
    return displacement(landmarks, landmarks[list(MIRRORED)] * (-1, 1))


def from_model(landmarks: Points) -> tuple[Complex, float]:
    """Return how far each lies from where the shape model has it, in the frame's sides, and the agreement."""
    laid, scale, agreement = load_face_shape().fitted(landmarks)
    return (landmarks - laid) @ np.array([1, 1j]) / scale, agreement


def farthest(displaced: Complex) -> float:
    """Return how far the part is displaced that is displaced most."""
    return max(float(abs(displaced[list(part)].mean())) for part in PARTS)


def tilt(landmarks: Points) -> float:
    """Return the angle of the mouth against the eyes, in radians."""
    eyes, mouth = (landmarks[eye].mean(0) for eye in _EYES), landmarks[_MOUTH[1]] - landmarks[_MOUTH[0]]
    right, left = eyes
    return float(np.arctan2(*mouth[::-1]) - np.arctan2(*(left - right)[::-1]))


def limits(marked: Sequence[Marked]) -> dict[str, dict[str, dict[str, float]]]:
    """Return kind -> figure -> how far off, in deviations of the undeformed, by whose landmarks."""
    by_kind: dict[str, list[Marked]] = {}
    for one in marked:
        by_kind.setdefault(one.kind, []).append(one)
    undeformed = by_kind.pop("")
    names = list(undeformed[0].figures[_WAYS[0]])
    return {
        kind: {name: {way: _off(those, undeformed, way, name) for way in _WAYS} for name in names}
        for kind, those in by_kind.items()
    }


def _off(those: Sequence[Marked], undeformed: Sequence[Marked], way: str, name: str) -> float:
    values, usual = ([one.figures[way][name] for one in of] for of in (those, undeformed))
    return round(float((np.mean(values) - np.mean(usual)) / np.std(usual, ddof=1)), 2)


def as_table(record: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """Return the record as lines of a Markdown table: found -> moved -> there."""
    names = list(next(iter(record.values())))
    lines = [f"| kind | {' | '.join(names)} |", "|" + "---|" * (len(names) + 1)]
    for kind, of in record.items():
        cells = [" → ".join(f"{off:.1f}" for off in of[name].values()) for name in names]
        lines.append(f"| {kind.replace('_', ' ')} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
