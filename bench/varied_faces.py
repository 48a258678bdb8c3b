"""Faces as the anomaly network learns them: found, aligned and masked, with and without what was drawn.

Each generated face comes in variants: as it is, several times with free anomalies, now and then with one of
the named kinds. All are varied as people and cameras vary them. No torch in here, so that many processes
start quickly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.alignment import Alignment, align, find_alignment
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.anomaly_free import draw_free_anomaly
from pipeline.capture_variation import vary_capture
from pipeline.face import FaceFinder, load_face_finder
from pipeline.mask import face_mask
from pipeline.natural_variation import vary_person
from pipeline.rejection import UnscorablePhotographError

DRAWING_SIDE = 512
"""Side, in pixels, at which anomalies are drawn and landmarks found."""

SEEN_SIDE = 256
UNDEFORMED, FREE, _NAMED = "undeformed", "free", "named"
_VARIANTS = (UNDEFORMED, FREE, FREE, FREE, FREE, FREE)
_NAMED_EVERY = 10  # faces of which one has a named kind too, which tests
MOST_VARIANTS = len(_VARIANTS) + 1
_LEAST_STRENGTH = 0.15
_MOST_NATURAL, _MOST_CAPTURE = 1.0, 1.0


@dataclass(frozen=True, slots=True)
class VariedFace:
    """One variant in the aligned frame at 256 px.

    seen: uint8 (256, 256, 3), as the camera took it. deformed, undeformed: the same before it was varied,
    with and without the anomaly, in the same frame. mask: uint8 (256, 256), 255 inside. kind: "undeformed",
    "free" or a value of `AnomalyKind`.
    """

    seen: NDArray[np.uint8]
    deformed: NDArray[np.uint8]
    undeformed: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    kind: str


def varied_faces(picture: NDArray[np.uint8], number: int, seed: int) -> list[VariedFace]:
    """Return the variants of a generated face, uint8 (512, 512, 3); none where no face is found in it."""
    finder = _finder()
    random = np.random.default_rng([seed, number])
    try:
        landmarks = finder.find(picture).landmarks
    except UnscorablePhotographError:
        return []
    person = picture
    if random.random() < 0.8:
        strength = random.uniform(0, _MOST_NATURAL)
        person = vary_person(picture, landmarks, strength, int(random.integers(2**31)))
    wanted = (*_VARIANTS, _NAMED) if number % _NAMED_EVERY == 0 else _VARIANTS
    kinds = [str(random.choice([str(k) for k in AnomalyKind])) if k == _NAMED else k for k in wanted]
    found = []
    for kind in kinds:
        try:
            found.append(_variant(finder, person, landmarks, kind, random))
        except ValueError:  # its landmarks lay no frame
            continue
    return found


def _variant(
    finder: FaceFinder,
    person: NDArray[np.uint8],
    landmarks: NDArray[np.float64],
    kind: str,
    random: np.random.Generator,
) -> VariedFace:
    strength, drawing_seed = float(random.uniform(_LEAST_STRENGTH, 1)), int(random.integers(2**31))
    if kind == UNDEFORMED:
        deformed = person
    elif kind == FREE:
        deformed = draw_free_anomaly(person, landmarks, strength, drawing_seed)
    else:
        deformed = draw_anomaly(person, landmarks, AnomalyKind(kind), strength, drawing_seed)
    found = finder.fitted_near(deformed, landmarks, int(random.integers(2**31)))
    alignment = find_alignment(found)
    mask = cv2.resize(face_mask(alignment.to_aligned(found)), (SEEN_SIDE,) * 2, interpolation=cv2.INTER_AREA)
    small = aligned_small(deformed, alignment)
    seen = vary_capture(small, float(random.uniform(0, _MOST_CAPTURE)), int(random.integers(2**31)))
    undeformed = small if kind == UNDEFORMED else aligned_small(person, alignment)
    return VariedFace(seen, small, undeformed, np.rint(mask * 255).astype(np.uint8), kind)


def aligned_small(rgb: NDArray[np.uint8], alignment: Alignment) -> NDArray[np.uint8]:
    """Return the aligned face at 256 px, by way of 512: twice as fast as by way of 1024."""
    aligned = align(rgb, alignment, 2 * SEEN_SIDE)
    return np.asarray(cv2.resize(aligned, (SEEN_SIDE,) * 2, interpolation=cv2.INTER_AREA), np.uint8)


@cache
def _finder() -> FaceFinder:
    """Load the finder once a process."""
    cv2.setNumThreads(1)
    return load_face_finder()
