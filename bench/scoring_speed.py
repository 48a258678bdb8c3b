"""Seconds per photograph, stage by stage, beside what one would run instead, in the same run.

The plain loop is what the paper describes: 500 steps at 1024 px for the normalization, then 500 for the raw
inversion, one picture at a time, each step the whole network as a textbook writes it and the metric at full
resolution. `ratio` is its seconds by facenorm's. Two more figures show where the ratio comes from: the same
loop on facenorm's own generator (`ratio_to_plain_own_generator`), and with the metric at 256 px besides,
which is what the `reference` profile computes (`ratio_to_reference`). On a GPU, or where asked for, an
optimiser in the manner of NVIDIA's projector and facenorm on a batch join them. Some steps of each are
timed and multiplied. Figures are of the device that the record names; the ratios are what counts.

    python -m bench.scoring_speed [--photos DIR] [--count 4] [--plain-steps 20]
        [--projector-steps 20] [--batch 16] [--precision bfloat16]
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.alternatives import time_alternatives
from bench.table import show
from models.catalog import GENERATOR
from models.generator import choose_device, load_generator
from models.precision import PRECISIONS
from pipeline.batch_scoring import BatchScorer
from pipeline.features import to_picture
from pipeline.locator_pool import LocatorPool
from pipeline.photograph import read_photograph
from pipeline.quality_thresholds import QualityThresholds
from pipeline.result import Scored
from pipeline.scoring import PhotographScorer, build_scorer

_GPU_PROJECTOR_STEPS = 20
_GPU_BATCH = 16


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--photos", type=Path, help="a folder of photographs instead of generated faces")
    arguments.add_argument(
        "--count", type=int, default=4, help="photographs (one more is scored first, untimed)"
    )
    arguments.add_argument("--plain-steps", type=int, default=20, help="steps of the plain loop to time")
    arguments.add_argument("--device", default="auto")
    arguments.add_argument(
        "--projector-steps", type=int, help="steps of the projector to time (default: 20 on a GPU, else none)"
    )
    arguments.add_argument(
        "--batch", type=int, help="photographs to score together (default: 16 on a GPU, else none)"
    )
    arguments.add_argument(
        "--precision", default="float32", choices=PRECISIONS, help="of the optimisation's steps"
    )
    options = arguments.parse_args()
    record = measure(
        options.device,
        options.count,
        options.plain_steps,
        options.photos,
        options.projector_steps,
        options.batch,
        options.precision,
    )
    show("scoring_speed", rows(record))


def measure(
    device: str = "auto",
    count: int = 4,
    plain_steps: int = 20,
    photos: Path | None = None,
    projector_steps: int | None = None,
    batch: int | None = None,
    precision: str = "float32",
) -> dict[str, object]:
    """Return the figures: mean seconds per photograph and stage, the alternatives', and their ratios.

    projector_steps, batch: 20 and 16 on a GPU and none elsewhere unless given.
    """
    on_gpu = choose_device(device).type == "cuda"
    if projector_steps is None:
        projector_steps = _GPU_PROJECTOR_STEPS if on_gpu else 0
    if batch is None:
        batch = _GPU_BATCH if on_gpu else 0
    scorer = build_scorer(GENERATOR, "fast", device, precision=precision)
    pictures = photographs(photos, max(count + 1, batch))
    scorer.score(pictures[0])  # warm caches, so that the others show the steady state
    stages = [seconds_by_stage(scorer.score(picture)) for picture in pictures[1 : count + 1]]
    mean = {name: float(np.mean([s[name] for s in stages])) for name in stages[0]}
    photograph = sum(mean.values())
    record: dict[str, object] = {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "photographs": count,
        "seconds_by_stage": {name: round(value, 3) for name, value in mean.items()},
        "seconds_per_photograph": round(photograph, 3),
    }
    if batch:
        seconds = batch_seconds(scorer, pictures[:batch])
        record["batch_photographs"] = batch
        record["batch_seconds_per_photograph"] = round(seconds, 3)
    for name, other in time_alternatives(device, plain_steps, projector_steps).items():
        record[f"{name}_seconds_per_step"] = round(other.seconds_per_step, 4)
        record[f"{name}_seconds_per_photograph"] = round(other.seconds_per_photograph, 1)
        ratio = "ratio" if name == "plain" else f"ratio_to_{name}"
        record[ratio] = round(other.seconds_per_photograph / photograph, 1)
        if batch:
            record[f"batch_{ratio}"] = round(other.seconds_per_photograph / seconds, 1)
    record["peak_resident_megabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if on_gpu:
        record["peak_gpu_megabytes"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return record


def batch_seconds(scorer: PhotographScorer, pictures: list[NDArray[np.uint8]]) -> float:
    """Return the seconds that each of several photographs takes when they are scored together."""
    with LocatorPool(os.cpu_count() or 1, QualityThresholds().minimum_face_pixels) as pool:
        together = BatchScorer(scorer, most_at_once=len(pictures), locators=pool)
        for _ in range(2):  # another size of batch is set up anew, and the pool's processes start
            together.score(pictures)
        began = time.perf_counter()
        results = together.score(pictures)
        seconds = time.perf_counter() - began
    stages = [seconds_by_stage(result) for result in results]  # none may have been rejected
    print({name: round(float(np.mean([s[name] for s in stages])), 4) for name in stages[0]})
    return seconds / len(pictures)


def rows(record: dict[str, object]) -> list[tuple[str, str]]:
    """Return the record's figures as lines of the common table: (figure, value)."""
    lines: list[tuple[str, str]] = []
    for name, value in record.items():
        if isinstance(value, dict):
            lines += [(f"{name}: {key}", str(figure)) for key, figure in value.items()]
        else:
            lines.append((name, str(value)))
    return lines


def photographs(folder: Path | None, count: int) -> list[NDArray[np.uint8]]:
    """Return `count` pictures, read from a folder or drawn by the generator."""
    if folder is not None:
        return [read_photograph(path) for path in sorted(folder.glob("*.jpg"))[:count]]
    generator = load_generator(GENERATOR, choose_device("cpu"))
    random = torch.Generator().manual_seed(5)
    z = torch.randn(count, generator.network.w_dim, generator=random)
    with torch.no_grad():
        w = generator.w_avg + 0.7 * (generator.network.mapping(z) - generator.w_avg)
        return [to_picture(generator.network.synthesis(row)[0]) for row in w[:, None]]


def seconds_by_stage(result: object) -> dict[str, float]:
    if not isinstance(result, Scored):
        raise SystemExit("a photograph of the benchmark was rejected; choose others with --photos")
    return dict(result.score.seconds)


def device_name(device: str) -> str:
    """Return the device in words."""
    if choose_device(device).type == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.processor() or platform.machine()} CPU, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
