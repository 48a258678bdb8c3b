"""How cost grows: with the photograph's size, photographs in a study, earlier encounters, waiting studies.

- size: seconds to decode, find and align the face, and the peak of memory, of 1 to 50 megapixels;
- study: seconds of everything but the scoring itself, per photograph, and of the report on them all;
- history: seconds to read a patient's scores, and to report a new encounter, after N earlier ones;
- queue: seconds of the sweep that finds a new quiet study while N wait; it runs every second, so that a new
  study waits that long and at most one second more for its place in the queue.

Scores are given, not computed (`bench.given_score`); database, file store, reports and queue are the node's.

    python -m bench.growth [--sizes 1 2 5 12 24 50] [--studies 1 4 16 64] [--histories 0 10 100 1000]
                           [--queues 10 100 400] [--plot FILE]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.face_photographs import face, framed, write_photograph
from bench.growth_of_archive import queue_seconds, report_seconds, study_seconds
from bench.own_process import in_own_process, peak_megabytes, reset_peak
from bench.table import show
from pipeline.alignment import align, find_alignment
from pipeline.face import FaceFinder, load_face_finder
from pipeline.photograph import read_photograph

SIZES = (1.0, 2.0, 5.0, 12.0, 24.0, 50.0)
STUDIES = (1, 4, 16, 64)
HISTORIES = (0, 10, 100, 1000)
QUEUES = (10, 100, 400)
COUNTED = {
    "size": "megapixels",
    "study": "photographs in a study",
    "history": "earlier encounters",
    "queue": "waiting studies",
}
_TIMES = 3


def measure(
    sizes: Sequence[float] = SIZES,
    studies: Sequence[int] = STUDIES,
    histories: Sequence[int] = HISTORIES,
    queues: Sequence[int] = QUEUES,
) -> dict[str, object]:
    """Return one list of points for each of the four; every point names its own count or size."""
    with tempfile.TemporaryDirectory(prefix="facenorm-bench-") as name:
        folder = Path(name)
        return {
            "size": in_own_process(_size_points, folder / "size", tuple(sizes)),
            "study": in_own_process(_points, study_seconds, folder / "study", tuple(studies)),
            "history": in_own_process(_points, report_seconds, folder / "history", tuple(histories)),
            "queue": in_own_process(queue_seconds, folder / "queue", tuple(queues)),
        }


def rows(record: dict[str, object]) -> list[tuple[str, str]]:
    """Return the lines of the common table: first and last point of each."""
    lines = []
    points: Any
    for kind, counted in COUNTED.items():
        points = record[kind]
        for point in (points[0], points[-1]) if len(points) > 1 else points:
            figures = [_figure(name, value) for name, value in point.items() if name != "n"]
            lines.append((f"{counted}: {point['n']:g}", ", ".join(figures)))
    return lines


def _figure(name: str, value: float) -> str:
    what = name.replace("_seconds", "").replace("_megabytes", "").replace("_", " ")
    return f"{what} {value:.0f} MB" if name.endswith("megabytes") else f"{what} {1000 * value:.0f} ms"


def _points(
    measured: Callable[[Path, int], dict[str, float]], folder: Path, counts: Sequence[int]
) -> list[dict[str, float]]:
    measured(folder / "first", 1)  # imports and caches, which a running node has behind it
    return [{"n": n, **measured(folder / str(n), n)} for n in counts]


def _size_points(folder: Path, sizes: Sequence[float]) -> list[dict[str, float]]:
    faces = load_face_finder()
    drawn = in_own_process(face)  # the generator's memory is none of a photograph's
    paths = [in_own_process(_write, folder / f"{size:g}.dcm", drawn, size) for size in sorted(sizes)]
    return [
        {"n": size, **_size_figures(faces, path)} for size, path in zip(sorted(sizes), paths, strict=True)
    ]


def _write(path: Path, drawn: np.ndarray[Any, np.dtype[np.uint8]], size: float) -> Path:
    return write_photograph(path, framed(drawn, size))


def _size_figures(faces: FaceFinder, path: Path) -> dict[str, float]:
    seconds: dict[str, list[float]] = {"decode": [], "face": [], "align": []}
    reset_peak()
    for _ in range(_TIMES):
        moments = [time.perf_counter()]
        rgb = read_photograph(path)
        moments.append(time.perf_counter())
        landmarks = faces.find(rgb).landmarks
        moments.append(time.perf_counter())
        align(rgb, find_alignment(landmarks))
        moments.append(time.perf_counter())
        for name, taken in zip(seconds, np.diff(moments), strict=True):
            seconds[name].append(float(taken))
        del rgb
    figures = {f"{name}_seconds": round(statistics.median(taken), 4) for name, taken in seconds.items()}
    return {**figures, "peak_megabytes": round(peak_megabytes(), 1)}


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--sizes", type=float, nargs="+", default=SIZES, help="megapixels")
    arguments.add_argument("--studies", type=int, nargs="+", default=STUDIES, help="photographs")
    arguments.add_argument("--histories", type=int, nargs="+", default=HISTORIES, help="encounters")
    arguments.add_argument("--queues", type=int, nargs="+", default=QUEUES, help="waiting studies")
    arguments.add_argument("--plot", type=Path, help="also draw the curves into this PNG file")
    options = arguments.parse_args()
    record = measure(options.sizes, options.studies, options.histories, options.queues)
    show("growth", rows(record))
    if options.plot:
        from bench.picture import draw

        draw({"growth": record}, options.plot)


if __name__ == "__main__":
    main()
