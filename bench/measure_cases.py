"""Measures the cases of the validation (`bench.validation_cases`), as the node would, and keeps every row.

Resumable: a row that is there is not measured again; a folder takes rows of one setup only. Processes draw
and align; the generator's device normalizes several faces together on a GPU, one after the other on a CPU
(some 12 s each on two cores).

    python -m bench.measure_cases --photos DIR --splits held_out --generated 300
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
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
from bench.validation_rows import claim_folder, write_row
from models.allocator import keep_freed_memory
from models.catalog import GENERATOR
from models.generator import Generator, choose_device, load_generator
from pipeline.compared_candidates import Measurement
from pipeline.generated_face import generated_face
from pipeline.kept_measurements import averaged_features
from pipeline.measurement import FaceMeasurer
from pipeline.measuring import Measuring, measuring_on
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
    measuring = measuring_with(options.profile, options.candidates)
    claim_folder(options.rows, rows_setup(measuring, options.seed))
    missing = [case for case in cases if not (options.rows / f"{case.name}.json").exists()]
    measure(missing, measuring, options)


def measuring_with(profile: str, candidates: int | None = None) -> Measuring:
    """Compose what measures, as the node does. candidates: K, instead of the profile's own."""
    generator = load_generator(GENERATOR, choose_device("auto"))
    settings = {**generator.card.profiles[profile], **({"candidates": candidates} if candidates else {})}
    card = replace(generator.card, profiles={**generator.card.profiles, profile: settings})
    return measuring_on(replace(generator, card=card), profile)


def rows_setup(measuring: Measuring, seed: int) -> dict[str, object]:
    """Return all that a row depends on besides its case. seed: of the generated faces."""
    return {**measuring.setup(), "generated": {"seed": seed, "truncation": _TRUNCATION}}


def measure(cases: list[Case], measuring: Measuring, options: argparse.Namespace) -> None:
    """Measure the cases and write a row for each, its latents beside it."""
    generator, measurer = measuring.generator, measuring.measurer
    batch = options.batch or (16 if generator.device.type == "cuda" else 1)
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
