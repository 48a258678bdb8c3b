"""Which group a generated face looks like: a guess, for scores by group on more faces than there are people.

Generated faces have no gender of their own. dlib's embedding of the face is put to a logistic regression
that was fitted on the people of --photos, by the gender that they reported; how often it is right about
people whom it has not seen stands beside every use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.measure_cases import generated
from bench.validation_cases import GENERATED, NEUTRAL, SMILING, Case, photograph_of
from bench.validation_rows import Row
from models.generator import Generator
from pipeline.capture_variation import vary_capture
from pipeline.face import FaceFinder, load_face_finder
from pipeline.face_embedding import FaceEmbedder, load_face_embedder
from pipeline.locating import locate_face
from pipeline.photograph import read_photograph
from pipeline.rejection import UnscorablePhotographError
from pipeline.stopwatch import Stopwatch

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Guessed:
    """group: of each generated face, by its number. right: share of the people whom it guesses rightly."""

    group: Mapping[str, str]
    right: float


def guessed_groups(
    rows: Sequence[Row],
    generator: Generator,
    photos: Path,
    of_person: Mapping[str, str],
    seed: int,
    kept: Path,
) -> Guessed:
    """Guess the group of every undeformed generated face. of_person: person -> group, as reported.

    kept: a file for the embeddings, which take a second each. seed: of `bench.measure_cases`.
    """
    faces = [row.person for row in rows if row.split == GENERATED and not row.kind]
    vectors = _embeddings(faces, generator, seed, kept)
    known, names, people = [], [], []
    for person, group in of_person.items():
        for view in (NEUTRAL, SMILING):
            path = photograph_of(photos, person, view)
            vector = _embedded(read_photograph(path)) if path.is_file() else None
            if vector is not None:
                known.append(vector)
                names.append(group)
                people.append(person)
    answers = cross_val_predict(_model(), np.array(known), names, groups=people, cv=LeaveOneGroupOut())
    model = _model().fit(np.array(known), names)
    found = {face: str(model.predict(vector[None])[0]) for face, vector in vectors.items()}
    return Guessed(found, float(np.mean(answers == np.array(names))))


def _model() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))


def _embeddings(faces: Sequence[str], generator: Generator, seed: int, kept: Path) -> dict[str, Array]:
    """Return face -> vector, from the file where it was computed before; only of faces that are found."""
    known: dict[str, Array] = dict(np.load(kept)) if kept.exists() else {}
    missing = [face for face in faces if face not in known]
    for face in track(missing, "embedding generated faces", disable=not missing):
        case = Case(face, GENERATED, seed=int(face))
        drawn = generated(generator, case, seed)
        varied = vary_capture(drawn, float(np.random.default_rng(case.seed).uniform(0, 0.5)), case.seed)
        vector = _embedded(varied)
        known[face] = np.zeros(0) if vector is None else vector
    np.savez(kept, **known)  # type: ignore[arg-type] # its stubs take the names for its own
    return {face: known[face] for face in faces if len(known[face])}


def _embedded(rgb: NDArray[np.uint8]) -> Array | None:
    finder, embedder = _tools()
    try:
        face = locate_face(finder, rgb, Stopwatch())
    except UnscorablePhotographError:
        return None
    return embedder.embed(face.picture, face.landmarks)


@cache
def _tools() -> tuple[FaceFinder, FaceEmbedder]:
    return load_face_finder(), load_face_embedder()
