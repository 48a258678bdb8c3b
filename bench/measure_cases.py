"""Measures the cases of the validation (`bench.validation_cases`), as the node would, and keeps every row.

Resumable: a row that is there is not measured again. Processes draw and align; the generator's device
normalizes several faces together on a GPU, one after the other on a CPU (some 12 s each on two cores).

    python -m bench.measure_cases --photos DIR --splits held_out --generated 300
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress as Bar
from safetensors.torch import save_file

from bench.anomaly_examples import workers_here
from bench.validation_cases import (
    GENERATED,
    HELD_OUT,
    TUNING,
    VIEWS,
    Case,
    cases_of_generated_faces,
    cases_of_people,
)
from bench.validation_pictures import CasePicture, case_picture
from bench.validation_rows import write_row
from models.allocator import keep_freed_memory
from models.catalog import GENERATOR
from models.generator import Generator, choose_device, load_generator
from models.lpips import load_metric
from pipeline.compared_candidates import Measurement
from pipeline.face import load_face_finder
from pipeline.generated_face import generated_face
from pipeline.kept_measurements import averaged_features
from pipeline.measurement import FaceMeasurer
from pipeline.newton_normalization import StepEngine
from pipeline.profile import Profile
from pipeline.region_shares import RegionBaseline, shares_of_face
from pipeline.stopwatch import Stopwatch

_TRUNCATION = 0.85
_AHEAD = 64


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--photos", type=Path, help="a folder of frontal photographs of people")
    arguments.add_argument("--splits", nargs="*", default=[TUNING, HELD_OUT], choices=(TUNING, HELD_OUT))
    arguments.add_argument("--undeformed", action="store_true", help="people without drawn anomalies only")
    arguments.add_argument("--views", nargs="*", default=VIEWS, choices=VIEWS, help="of people, in order")
    arguments.add_argument("--generated", type=int, default=0, help="as many generated faces besides")
    arguments.add_argument("--seed", type=int, default=77, help="of the generated faces")
    arguments.add_argument("--profile", default="fast")
    arguments.add_argument("--candidates", type=int, help="K, instead of the profile's own")
    arguments.add_argument("--batch", type=int, help="faces normalized together (default: 16 on a GPU)")
    arguments.add_argument("--workers", type=int, default=workers_here())
    arguments.add_argument("--seconds", type=float, default=1e9, help="begin no further batch after")
    arguments.add_argument("--rows", type=Path, default=Path("out/validation"))
    options = arguments.parse_args()
    keep_freed_memory()
    cases = cases_of_generated_faces(options.generated, options.seed)
    if options.photos:
        of_people = cases_of_people(options.photos, options.splits)
        cases += [
            case
            for view in options.views
            for case in of_people
            if case.view == view and not (options.undeformed and case.kind)
        ]
    options.rows.mkdir(parents=True, exist_ok=True)
    missing = [case for case in cases if not (options.rows / f"{case.name}.json").exists()]
    measure(missing, options)


def measure(cases: list[Case], options: argparse.Namespace) -> None:
    """Measure the cases and write a row for each, its latents beside it."""
    device = choose_device("auto")
    generator, metric = load_generator(GENERATOR, device), load_metric(device)
    batch = options.batch or (16 if device.type == "cuda" else 1)
    settings = dict(generator.card.profiles[options.profile])
    settings |= {"candidates": options.candidates} if options.candidates else {}
    engine = StepEngine.on_device(generator, metric)
    measurer = FaceMeasurer(
        generator, metric, load_face_finder(), Profile.from_card(settings), 0, engine=engine
    )
    began, waiting = time.perf_counter(), []
    with Bar() as bar:
        task = bar.add_task("measuring", total=len(cases))
        for case, picture in pictures_of(cases, generator, options):
            if picture.face is None:
                keep(options.rows, case, picture, None, generator)
                bar.advance(task)
            else:
                waiting.append((case, picture))
            if len(waiting) >= batch:
                measure_together(measurer, waiting, options.rows, generator)
                bar.advance(task, len(waiting))
                waiting = []
            if time.perf_counter() - began > options.seconds:
                break
        if waiting:
            measure_together(measurer, waiting, options.rows, generator)
            bar.advance(task, len(waiting))


def measure_together(
    measurer: FaceMeasurer, waiting: list[tuple[Case, CasePicture]], rows: Path, generator: Generator
) -> None:
    faces = [picture.face for _, picture in waiting if picture.face is not None]
    for (case, picture), found in zip(waiting, measurer.measure_batch(faces, Stopwatch()), strict=True):
        keep(rows, case, picture, found, generator)


def pictures_of(
    cases: list[Case], generator: Generator, options: argparse.Namespace
) -> Iterator[tuple[Case, CasePicture]]:
    """Yield each case's picture, made by other processes."""
    pool = ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn"))
    waiting: deque[tuple[Case, Future[CasePicture]]] = deque()
    try:
        for case in cases:
            drawn = generated(generator, case, options.seed) if case.split == GENERATED else None
            waiting.append((case, pool.submit(case_picture, case, options.photos, drawn)))
            while len(waiting) > _AHEAD:
                first, job = waiting.popleft()
                yield first, job.result()
        while waiting:
            first, job = waiting.popleft()
            yield first, job.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def generated(generator: Generator, case: Case, seed: int) -> NDArray[np.uint8]:
    random = np.random.default_rng([seed, int(case.person), 3])
    z = torch.from_numpy(random.standard_normal((1, generator.network.w_dim))).float()
    return generated_face(generator, z, _TRUNCATION)


def keep(
    rows: Path, case: Case, picture: CasePicture, found: Measurement | None, generator: Generator
) -> None:
    """Write the row; a face that was not found has no features."""
    row: dict[str, object] = {**case.as_dict(), "severity": picture.severity, "changed": picture.regions}
    if found is not None and picture.face is not None:
        baseline = RegionBaseline.of_card(generator.card)
        row["features"] = averaged_features(found)
        row["candidates"] = [
            {**a.as_dict(), **b, **c}
            for a, b, c in zip(found.features, found.local_features, found.further_features, strict=True)
        ]
        row["regions"] = shares_of_face(found.anomaly_map, picture.face.landmarks, baseline, found.judged_map)
        latents = {"w_norm": found.latents.w_norm, "w_raw": found.latents.w_raw}
        save_file(
            {k: v.half().cpu().contiguous() for k, v in latents.items()}, rows / f"{case.name}.safetensors"
        )
    write_row(rows / f"{case.name}.json", row)


if __name__ == "__main__":
    main()
