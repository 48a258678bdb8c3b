"""A folder of face photographs with simulated ratings, for tests; the faces are generated, nobody's."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pipeline.capture_variation import vary_capture
from tests.faces import generated_face
from tests.pictures import known_rgb

Rate = Callable[[int], float]


def photographs(folder: Path, people: int, each: int = 1) -> list[str]:
    """Write `each` photographs of each of `people` people; return their names, person by person.

    There are a few faces only: other people are the same face as another camera sees it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for person in range(people):
        face = cv2.resize(generated_face(person % 3), (400, 400), interpolation=cv2.INTER_AREA)
        for number in range(each):
            names.append(f"photograph-{person:02d}-{number}.png")
            Image.fromarray(vary_capture(face, 0.6, 100 * person + number)).save(folder / names[-1])
    return names


def without_a_face(folder: Path) -> str:
    """Add a picture that cannot be scored; return its name."""
    Image.fromarray(known_rgb()).save(folder / "no-face.png")
    return "no-face.png"


def write_ratings(
    file: Path, names: Sequence[str], truth: Sequence[float], raters: int = 3, noise: float = 0.2
) -> None:
    """Write `raters` simulated ratings a photograph: the truth, and normal noise of known spread."""
    random = np.random.default_rng(8)
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("photograph", "rater", "rating", "person", "sex", "age"))
        for name, value in zip(names, truth, strict=True):
            person = name.rpartition("-")[0] or name
            for rater in range(raters):
                rating = float(np.clip(value + random.normal(0, noise), 1, 7))
                group = ("f" if sum(person.encode()) % 2 else "m", 10 * (sum(person.encode()) % 7))
                table.writerow((name, f"simulated-{rater}", f"{rating:.2f}", person, *group))
