"""Memory: the peak in each stage of scoring, and whether it stays flat over many photographs.

Peaks are those of a process that scores one photograph of 12 megapixels, stage by stage (resident, in MB,
with the libraries and weights that every stage has beneath it). Flatness: a process scores many photographs,
each with its normalized image and report, and the mean of its resident memory over the second fifth is
compared with that over the last fifth: with the test generator in tests/data, and with the real one.

    python -m bench.memory [--tiny-count 100] [--real-count 4]
    python -m bench.memory --tiny-count 1000 --real-count 30        the long counts
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread

from bench.face_photographs import face, framed, write_photograph
from bench.given_score import given_score
from bench.own_process import in_own_process, peak_megabytes, reset_peak, resident_megabytes
from bench.table import show
from models.allocator import keep_freed_memory
from models.catalog import GENERATOR
from models.generator import choose_device, load_generator
from models.lpips import load_metric
from pipeline.face import load_face_finder
from pipeline.measurement import FaceMeasurer
from pipeline.photograph import read_photograph
from pipeline.profile import Profile
from pipeline.result import Rejection, Scored
from pipeline.scoring import PhotographScorer, build_scorer
from pipeline.stopwatch import Stopwatch
from reports.normalized_photograph import build_normalized_photograph
from reports.reported_photograph import ReportedPhotograph
from reports.structured_report import build_structured_report

TINY_GENERATOR = Path("tests/data/tiny.safetensors")
_MEGAPIXELS = 12.0
_CREATED = datetime(2026, 1, 2, tzinfo=UTC)


def measure(
    tiny_count: int = 100, real_count: int = 4, generator: str = GENERATOR, tiny: Path = TINY_GENERATOR
) -> dict[str, object]:
    """Return peaks by stage and the course of resident memory; a count of 0 leaves that part out."""
    with tempfile.TemporaryDirectory(prefix="facenorm-bench-") as folder:
        large, small = (
            in_own_process(draw_photograph, Path(folder) / f"{size}.dcm", size) for size in (_MEGAPIXELS, 1.0)
        )
        record: dict[str, object] = {"megapixels": _MEGAPIXELS}
        if real_count:
            record["peak_megabytes"] = in_own_process(stage_peaks, generator, large)
        for name, which, count in (("tiny", str(tiny), tiny_count), ("real", generator, real_count)):
            if count:
                record[f"flat_{name}"] = flatness(in_own_process(resident_course, which, small, count))
    return record


def rows(record: dict[str, object]) -> list[tuple[str, str]]:
    """Return the lines of the common table."""
    peaks: Any = record.get("peak_megabytes", {})
    lines = [(f"memory, peak: {stage}", f"{peak:.0f} MB") for stage, peak in peaks.items()]
    for name in ("tiny", "real"):
        flat: Any = record.get(f"flat_{name}")
        if flat:
            text = f"{flat['early_megabytes']:.0f} -> {flat['late_megabytes']:.0f} MB"
            lines.append((f"memory over {flat['photographs']} photographs, {name} generator", text))
    return lines


def draw_photograph(path: Path, megapixels: float) -> Path:
    """Write a photograph with a generated face."""
    return write_photograph(path, framed(face(), megapixels))


def stage_peaks(generator: str, photograph: Path) -> dict[str, float]:
    """Return the peak, in MB, of this process by stage."""
    measurer = _measurer(generator)
    scored = given_score()
    watch = _MemoryWatch()
    watch.peaks["weights loaded, at rest"] = round(resident_megabytes(), 1)
    # Before the others, whose freed memory the process keeps.
    with watch.stage("report"):
        _report(scored, photograph)
    with watch.stage("decode"):
        rgb = read_photograph(photograph)
    measurer.measure(measurer.locate(rgb, watch), watch)
    return watch.peaks


def resident_course(generator: str, photograph: Path, count: int) -> list[float]:
    """Score and report `count` times; return resident MB after each."""
    scorer: PhotographScorer = build_scorer(generator, "fast", "cpu")
    course = []
    for _ in range(count):
        _report(scorer.score_file(photograph), photograph)
        course.append(resident_megabytes())
    return course


def flatness(course: list[float]) -> dict[str, object]:
    """Return the mean of the second fifth and of the last one, and a thinned-out course (MB)."""
    fifth = max(1, len(course) // 5)
    early, late = np.mean(course[fifth : 2 * fifth] or course), np.mean(course[-fifth:])
    every = max(1, len(course) // 50)
    return {
        "photographs": len(course),
        "early_megabytes": round(float(early), 1),
        "late_megabytes": round(float(late), 1),
        "megabytes": [round(value, 1) for value in course[::every]],
        "every": every,
    }


class _MemoryWatch(Stopwatch):
    """A stopwatch that notes the peak of memory, too."""

    def __init__(self) -> None:
        super().__init__()
        self.peaks: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        reset_peak()
        with super().stage(name):
            yield
        self.peaks[name] = round(max(self.peaks.get(name, 0.0), peak_megabytes()), 1)


def _measurer(generator: str) -> FaceMeasurer:
    keep_freed_memory()
    chosen = load_generator(generator, choose_device("cpu"))
    faces = load_face_finder()
    profile = Profile.from_card(chosen.card.profiles["fast"])
    return FaceMeasurer(chosen, load_metric(chosen.device), faces, profile, 0)


def _report(scored: Scored | Rejection, photograph: Path) -> None:
    if not isinstance(scored, Scored):
        raise TypeError(f"the bench's photograph was rejected: {scored.detail}")
    source = dcmread(photograph, stop_before_pixels=True)
    build_normalized_photograph(source, scored.images.normalized, scored.score, _CREATED)
    build_structured_report([ReportedPhotograph(source, scored.score, None, "bench")], None, _CREATED)


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--tiny-count", type=int, default=100, help="photographs on the test generator")
    arguments.add_argument("--real-count", type=int, default=4, help="photographs on the real generator")
    arguments.add_argument("--generator", default=GENERATOR)
    options = arguments.parse_args()
    show("memory", rows(measure(options.tiny_count, options.real_count, options.generator)))


if __name__ == "__main__":
    main()
