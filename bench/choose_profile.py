"""The experiment that chose the settings of the default profile.

Faces with and without a drawn anomaly are normalized under one setting after another. Reported per setting:

- objective: LPIPS and mean |w - w_avg| of the deformed faces, drawn at full resolution;
- residue: how much of the anomaly the normalized face still shows, LPIPS to the undeformed face where the
  anomaly is, as a share of what the anomaly itself makes there (the undeformed face's own normalization,
  which has no anomaly to show, is the floor);
- separation: mean growth of d_xperc by the anomaly, in standard deviations of the undeformed faces;
- paired: share of pairs in which d_xperc is larger with the anomaly than without;
- seconds per photograph for one normalization and the raw inversion.

    python -m bench.choose_profile --faces 8 [--photos DIR]
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from models.allocator import keep_freed_memory
from models.catalog import GENERATOR
from models.generator import Generator, choose_device, load_generator
from models.lpips import Lpips, load_metric
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.capture_variation import vary_capture
from pipeline.face import FaceFinder, load_face_finder
from pipeline.features import FEATURE_SIDE, FeatureExtractor, to_tensor
from pipeline.generated_face import generated_face
from pipeline.measurement import FaceMeasurer
from pipeline.normalization import average_and_goal, normalize
from pipeline.objective import resized
from pipeline.photograph import read_photograph
from pipeline.profile import Profile
from pipeline.stopwatch import Stopwatch

CENTRE = Profile(
    steps=15,
    learning_rate=0.06,
    metric_resolution=256,
    lambda_sim=10.0,
    lambda_avg=1.0,
    candidates=1,
    start="encoder",
    warm_up=0.1,
    ramp_down=0.6,
)
SETTINGS: dict[str, Profile] = {
    "centre": CENTRE,
    "lambda_avg 0.3": replace(CENTRE, lambda_avg=0.3),
    "lambda_avg 3": replace(CENTRE, lambda_avg=3.0),
    "lambda_avg 10": replace(CENTRE, lambda_avg=10.0),
    "rate 0.03": replace(CENTRE, learning_rate=0.03),
    "rate 0.12": replace(CENTRE, learning_rate=0.12),
    "encoder, 1 step": replace(CENTRE, steps=1, learning_rate=1e-6),
    "5 steps": replace(CENTRE, steps=5),
    "30 steps": replace(CENTRE, steps=30),
    "128 px": replace(CENTRE, metric_resolution=128),
    "from w_avg, 40 steps": replace(CENTRE, start="average", steps=40),
}
_TRUNCATION = 0.85


@dataclass(frozen=True, slots=True)
class Case:
    """A face with and without an anomaly: tensors (3, H, W), the mask, and where the two differ (H, W)."""

    undeformed: torch.Tensor
    deformed: torch.Tensor
    mask: torch.Tensor
    area: torch.Tensor


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--faces", type=int, default=8)
    arguments.add_argument("--photos", type=Path, help="real photographs instead of generated faces")
    arguments.add_argument("--only", nargs="*", help="names of settings")
    arguments.add_argument("--output", type=Path, default=Path("bench/results/choose_profile.json"))
    options = arguments.parse_args()
    keep_freed_memory()
    generator = load_generator(GENERATOR, choose_device("auto"))
    metric = load_metric(generator.device)
    faces = load_face_finder()
    cases = [make_case(generator, metric, faces, n, options.photos) for n in range(options.faces)]
    chosen = {name: s for name, s in SETTINGS.items() if not options.only or name in options.only}
    rows = {}
    for name, profile in chosen.items():
        rows[name] = try_setting(generator, metric, profile, cases)
        print(name, rows[name], flush=True)
    record = {
        "faces": "photographs" if options.photos else "generated",
        "count": len(cases),
        "settings": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    show(rows)


def make_case(
    generator: Generator, metric: Lpips, faces: FaceFinder, number: int, photos: Path | None
) -> Case:
    """Return one face, drawn or read, aligned, with an anomaly of the next kind at full severity."""
    random = np.random.default_rng([77, number])
    measurer = FaceMeasurer(generator, metric, faces, CENTRE, 0)
    face = measurer.locate(picture(generator, random, number, photos), Stopwatch())
    kind = list(AnomalyKind)[number % len(AnomalyKind)]
    deformed = draw_anomaly(face.picture, face.landmarks, kind, 0.9, number)
    difference = np.abs(deformed.astype(np.float32) - face.picture).max(2)
    tensors = [to_tensor(p, generator.device) for p in (face.picture, deformed)]
    area = torch.from_numpy((difference > 12).astype(np.float32)).to(generator.device)
    mask = torch.from_numpy(face.mask).to(generator.device)
    return Case(tensors[0], tensors[1], mask, area * mask)


def picture(
    generator: Generator, random: np.random.Generator, number: int, photos: Path | None
) -> NDArray[np.uint8]:
    if photos is not None:
        paths = sorted(photos.glob("*_03.jpg"))  # one photograph a person
        return read_photograph(paths[number * 3 % len(paths)])
    z = torch.from_numpy(random.standard_normal((1, generator.network.w_dim))).float()
    return vary_capture(generated_face(generator, z, _TRUNCATION), 0.7, number)


def try_setting(generator: Generator, metric: Lpips, profile: Profile, cases: list[Case]) -> dict[str, float]:
    """Return the figures of one setting over all cases."""
    without: list[float] = []
    with_anomaly: list[float] = []
    residues: list[float] = []
    floors: list[float] = []
    averageness, seconds = [], []
    for case in cases:
        for x, distances, left in (
            (case.undeformed, without, floors),
            (case.deformed, with_anomaly, residues),
        ):
            began = time.perf_counter()
            latents = normalize(generator, metric, x, case.mask, profile, seed=0)
            seconds.append(time.perf_counter() - began)
            with torch.no_grad():
                x_norm = generator.network.synthesis(latents.w_norm)
                extractor = FeatureExtractor(metric, x[None], case.mask[None])
                distances.append(extractor.compare(x_norm, latents.w_raw[None], latents.w_norm)[0][0].d_xperc)
                left.append(local_distance(metric, x_norm, case.undeformed[None], case))
        average, _ = average_and_goal(generator, metric, case.deformed[None], case.mask[None], profile)
        averageness.append(float((latents.w_norm - average).abs().mean()))
    made = [local_distance(metric, case.deformed[None], case.undeformed[None], case) for case in cases]
    growth = np.array(with_anomaly) - np.array(without)
    return {
        "d_xperc": round(float(np.mean(with_anomaly)), 4),
        "averageness": round(float(np.mean(averageness)), 4),
        "residue": round(float(np.mean(np.array(residues) / np.array(made))), 3),
        "floor": round(float(np.mean(np.array(floors) / np.array(made))), 3),
        "separation": round(float(growth.mean() / np.std(without, ddof=1)), 3),
        "paired": round(float((growth > 0).mean()), 3),
        "seconds": round(float(np.mean(seconds)), 2),
    }


def local_distance(metric: Lpips, a: torch.Tensor, b: torch.Tensor, case: Case) -> float:
    """Return the LPIPS of two pictures where the anomaly is."""
    mask = resized(case.mask[None, None], FEATURE_SIDE)
    with torch.no_grad():
        pictures = [resized(x.clamp(-1, 1), FEATURE_SIDE) * mask for x in (a, b)]
        return float(metric(pictures[0], pictures[1], resized(case.area[None, None], FEATURE_SIDE))[0])


def show(rows: dict[str, dict[str, float]]) -> None:
    """Print the table."""
    table = Table("setting", *next(iter(rows.values())))
    for name, row in rows.items():
        table.add_row(name, *(f"{value:g}" for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
