"""What a score would gain from landmarks that follow displacements (`bench.landmark_refiner`).

Of rows of `bench.measure_cases` the photograph and its nearest normalized face are drawn again; dlib's
landmarks are found in both, and moved by the network in both. Figures of either sort are joined to `n_peak`
as in `bench.feature_study`, in a regression on generated faces, and once more with the undeformed people that
are tuned on among them. Resumable; measure several shares side by side, then ask for the table.

    python -m bench.following_landmarks --photos DIR --refiner FILE --report FILE.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table as Shown
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors

from bench.feature_study import judged
from bench.judge_again import add_rows_arguments, face_of, nearest_normalized, share_of_rows
from bench.landmark_limit import CHIN, farthest, from_mirror, from_model, tilt
from bench.landmark_refiner import LandmarkRefiner, load_landmark_refiner
from bench.validation_cases import NEUTRAL, TUNING
from bench.validation_rows import Row, claim_folder, read_rows, setup_of
from models.allocator import keep_freed_memory
from models.catalog import GENERATOR
from models.generator import load_generator
from pipeline.face import load_face_finder
from pipeline.face_shape import Points
from pipeline.shape_features import SHAPE_SIDE, displacement, found_alike

FOUND, MOVED = "found", "moved"
_TIMES = 3  # that a person counts
_SETS = {
    "chin, disagreement": ("chin", "disagreement"),
    "one-sided part, tilt of the mouth": ("one-sided", "tilt"),
    "chin, disagreement, one-sided part, one-sided chin, tilt, farthest part": (
        "chin", "disagreement", "one-sided", "one-sided chin", "tilt", "farthest",
    ),
}  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--refiner", type=Path, required=True)
    arguments.add_argument("--kept", type=Path, default=Path("out/landmarks"), help="what was measured")
    arguments.add_argument("--report", type=Path, help="write the table as JSON, too")
    add_rows_arguments(arguments)
    options = arguments.parse_args()
    keep_freed_memory()
    claim_folder(options.kept, setup_of(options.rows))
    measure(options, load_landmark_refiner(options.refiner))
    kept = {path.stem: load_file(path) for path in options.kept.glob("*.safetensors")}
    rows = [with_figures(r, kept[r.name]) for r in read_rows(options.rows) if r.name in kept]
    table = joined(rows)
    shown = Shown(*table[0], title=f"n_peak joined by, {len(rows)} rows")
    for cells in table[1:]:
        shown.add_row(*cells)
    Console().print(shown)
    if options.report:
        options.report.write_text(json.dumps({"rows": len(rows), "table": table}, indent=1) + "\n")


@torch.no_grad()
def measure(options: argparse.Namespace, refiner: LandmarkRefiner) -> None:
    """Keep the landmarks of each row's photograph and normalized face: (2, 68, 2) in shares of the side."""
    finder, generator = load_face_finder(), load_generator(GENERATOR, torch.device("cpu"))
    missing = [p for p in share_of_rows(options) if not (options.kept / f"{p.stem}.safetensors").exists()]
    for path in track(missing, "measuring"):
        row = json.loads(path.read_text("utf-8"))
        if "features" not in row:
            continue
        face = face_of(row, path, generator, options)
        w = load_tensors(path.with_suffix(".safetensors"))["w_norm"].float()
        pictures = face.picture, nearest_normalized(row["candidates"], w, generator)
        alike = found_alike(finder, pictures[0], face.landmarks, pictures[1])
        found = [(points + 0.5) / SHAPE_SIDE for points in alike]
        both = {FOUND: np.stack(found), MOVED: np.stack(refiner.refined(pictures, found))}
        part = options.kept / f"{path.stem}.part"
        save_file({name: points.astype(np.float32) for name, points in both.items()}, part)
        part.rename(part.with_suffix(".safetensors"))


def with_figures(row: Row, kept: Mapping[str, Points]) -> Row:
    """Return the row with the figures of both sorts of landmarks among its features."""
    taken = {
        f"{way} {name}": value
        for way in (FOUND, MOVED)
        for name, value in figures(*kept[way].astype(np.float64)).items()
    }
    return replace(row, features={**row.features, **taken})


def figures(seen: Points, norm: Points) -> dict[str, float]:
    """Return figures of a photograph's landmarks beside the normalized face's, (68, 2) in shares of the side.

    "disagreement" is the photograph's own; "farthest", "one-sided", "one-sided chin" and "tilt" are what lies
    beyond the normalized face's, which shares the person's and the pose's.
    """
    apart, sides = displacement(seen, norm), from_mirror(seen) - from_mirror(norm)
    (off, agreement), (usual_off, _) = from_model(seen), from_model(norm)
    return {
        "chin": float(abs(apart[CHIN].mean())),
        "disagreement": 1 - agreement,
        "farthest": farthest(off - usual_off),
        "one-sided": farthest(sides),
        "one-sided chin": float(np.abs(sides[CHIN]).mean()),
        "tilt": abs(tilt(seen) - tilt(norm)),
    }


def joined(rows: Sequence[Row]) -> list[list[str]]:
    """Return the table."""
    head = ["fitted to", "n_peak joined by", "landmarks", "generated, in folds", "people tuned on: R",
            "pairs in order", "held out: R", "pairs in order", "undeformed", "smiling"]  # fmt: skip
    people = [row for row in rows if row.split == TUNING and row.view == NEUTRAL and not row.kind]
    table = [head]
    for fitted, also in (("generated", []), ("and people", _TIMES * people)):
        table.append([fitted, "nothing", "", *judged(rows, ("n_peak",), also)])
        for title, names in _SETS.items():
            for way, whose in ((FOUND, "dlib's"), (MOVED, "moved")):
                features = ("n_peak", *(f"{way} {name}" for name in names))
                table.append([fitted, title, whose, *judged(rows, features, also)])
    return table


if __name__ == "__main__":
    main()
