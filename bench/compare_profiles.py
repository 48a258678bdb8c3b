"""Does a profile reach what the plain loop reaches? Terms at full resolution, features and scores.

Real photographs, every second one with a drawn anomaly, are normalized under each profile. A finished
photograph is kept in --folder and not computed again, so the hours that the `reference` profile takes can be
interrupted, or shared out with --part. The last call reads what is there and writes the figures, no faces.

The objective has several minima, and the start decides which one is found. So the plain loop is also run from
where `fast` begins: NAME:KEY=VALUE is a profile with one setting changed.

    python -m bench.compare_profiles --photos DIR --profiles reference reference:start=encoder fast
    python -m bench.compare_profiles --photos DIR --report bench/results/compare_profiles.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file
from scipy.stats import pearsonr

from models.allocator import keep_freed_memory
from models.catalog import GENERATOR
from models.generator import Generator, choose_device, load_generator
from models.lpips import Lpips, load_metric
from models.regressor import load_regressor
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.face import load_face_finder
from pipeline.features import to_tensor
from pipeline.kept_measurements import averaged_features
from pipeline.latents import Latents
from pipeline.locating import AlignedFace
from pipeline.measurement import FaceMeasurer
from pipeline.normalization import average_and_goal, normalize
from pipeline.objective import Objective
from pipeline.photograph import read_photograph
from pipeline.profile import Profile
from pipeline.stopwatch import Stopwatch

_SEVERITIES = (0.0, 0.6, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Bench:
    """What every photograph is measured with."""

    generator: Generator
    metric: Lpips
    measurer: FaceMeasurer


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_photo_arguments(arguments, faces=10)
    arguments.add_argument("--profiles", nargs="*", default=[], help="profiles to compute")
    arguments.add_argument("--part", default="0/1", help="I/N: only every N-th photograph")
    arguments.add_argument("--folder", type=Path, default=Path("out/profiles"))
    arguments.add_argument("--report", type=Path, help="compare what is there, and write it here")
    arguments.add_argument("--against", default="fast", help="the profile that is compared")
    arguments.add_argument("--reference", default="reference", help="the profile that it is compared with")
    options = arguments.parse_args()
    bench = load_bench(seed=0)
    options.folder.mkdir(parents=True, exist_ok=True)
    part, parts = (int(n) for n in options.part.split("/"))
    for name in options.profiles:
        for number in range(part, options.faces, parts):
            compute(bench, name, number, options)
    if options.report:
        report(bench, options)


def add_photo_arguments(arguments: argparse.ArgumentParser, *, faces: int) -> None:
    """Add what says which photographs are measured; faces: how many of them by default."""
    arguments.add_argument("--photos", type=Path, required=True, help="a folder of frontal photographs")
    arguments.add_argument("--pattern", default="*_03.jpg", help="which of its files, one a person")
    arguments.add_argument("--faces", type=int, default=faces)


def load_bench(seed: int) -> Bench:
    """Load what photographs are measured with under `reference`; seed: of what it draws."""
    keep_freed_memory()
    generator = load_generator(GENERATOR, choose_device("auto"))
    metric = load_metric(generator.device)
    plain = Profile.from_card(generator.card.profiles["reference"])
    return Bench(generator, metric, FaceMeasurer(generator, metric, load_face_finder(), plain, seed))


def compute(bench: Bench, name: str, number: int, options: argparse.Namespace) -> None:
    """Normalize one photograph under one profile, unless that has been done, and keep what came out."""
    path = row_path(options.folder, bench.generator, name, number)
    if path.exists():
        return
    profile = Profile.from_card(settings(bench.generator, name))
    face = picture(bench, number, options)
    x_raw, mask = tensors(face, bench.generator)
    began = time.perf_counter()
    latents = normalize(bench.generator, bench.metric, x_raw, mask, profile, seed=0)
    seconds = time.perf_counter() - began
    kept = {"w_norm": latents.w_norm, "w_raw": latents.w_raw, "seconds": torch.tensor(seconds)}
    save_file({k: v.cpu().contiguous() for k, v in kept.items()}, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)
    print(f"{name}: photograph {number} took {seconds:.1f} s", flush=True)


def settings(generator: Generator, name: str) -> dict[str, float | int | str | None]:
    """Return the settings of a profile, or of NAME:KEY=VALUE, the value a word or a whole number."""
    profile, _, changed = name.partition(":")
    key, _, value = changed.partition("=")
    new: dict[str, int | str] = {key: int(value) if value.isdigit() else value} if changed else {}
    return {**generator.card.profiles[profile], **new}


def row_path(folder: Path, generator: Generator, name: str, number: int) -> Path:
    """Return where a row is kept: another for other settings of the profile."""
    text = json.dumps(settings(generator, name), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return folder / f"{number:04d}-{name.partition(':')[0]}-{digest}.safetensors"


def picture(bench: Bench, number: int, options: argparse.Namespace) -> AlignedFace:
    """Return one aligned photograph, with an anomaly of the next kind and severity."""
    paths = sorted(options.photos.glob(options.pattern))
    if number >= len(paths):
        raise SystemExit(f"{options.photos} holds {len(paths)} photographs; ask for fewer --faces")
    return deformed(bench.measurer.locate(read_photograph(paths[number]), Stopwatch()), number)


def severity_of(number: int) -> float:
    """Return how severe the anomaly of a photograph is; every second one has none."""
    return _SEVERITIES[number % len(_SEVERITIES)]


def kind_of(number: int) -> AnomalyKind:
    """Return the kind of its anomaly."""
    return list(AnomalyKind)[number % len(AnomalyKind)]


def deformed(face: AlignedFace, number: int) -> AlignedFace:
    """Return the face of a photograph with its anomaly drawn."""
    picture = draw_anomaly(face.picture, face.landmarks, kind_of(number), severity_of(number), number)
    return AlignedFace(picture, face.landmarks, face.mask, face.alignment)


def tensors(face: AlignedFace, generator: Generator) -> tuple[torch.Tensor, torch.Tensor]:
    return to_tensor(face.picture, generator.device), torch.from_numpy(face.mask).to(generator.device)


def report(bench: Bench, options: argparse.Namespace) -> None:
    """Compare every photograph that both profiles have, print a table and write the figures."""
    rows: list[dict[str, dict[str, float]]] = []
    for number in range(options.faces):
        paths = {
            name: row_path(options.folder, bench.generator, name, number)
            for name in (options.reference, options.against)
        }
        if all(path.exists() for path in paths.values()):
            face = picture(bench, number, options)
            rows.append({name: figures(bench, face, path) for name, path in paths.items()})
    if not rows:
        raise SystemExit("no photograph has been computed under both profiles yet; see --profiles")
    record = compared(rows, options.reference, options.against)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps({**record, "photographs": rows}, indent=1) + "\n")
    table = Table("figure", "value", title=f"{options.against} against {options.reference}")
    for key, value in record.items():
        table.add_row(key, str(value))
    Console().print(table)


@torch.no_grad()
def figures(bench: Bench, face: AlignedFace, path: Path) -> dict[str, float]:
    """Return the terms at full resolution, the mean features and the score of one kept result."""
    generator, found = bench.generator, load_file(path)
    x_raw, mask = tensors(face, generator)
    latents = Latents(found["w_norm"], found["w_raw"], torch.empty(0), torch.empty(0))
    profile = Profile.from_card(generator.card.profiles["reference"])
    average, _ = average_and_goal(generator, bench.metric, x_raw[None], mask[None], profile)
    pulled, side = replace(generator, w_avg=average[0]), generator.network.resolution
    objective = Objective(pulled, bench.metric, x_raw, mask, profile.metric_resolution, side)
    measured = bench.measurer.compare(face, latents)
    similarity = [float(objective.terms(w_norm)[0]) for w_norm in latents.w_norm[:, None]]
    averageness = float(objective.terms(latents.w_norm[:1])[1])
    mean = averaged_features(measured)
    regressor = load_regressor(generator.folder / generator.card.regressor)
    return {
        "similarity": similarity[0],
        "averageness": averageness,
        "total": profile.lambda_sim * similarity[0] + profile.lambda_avg * averageness,
        "candidates_similarity": float(np.mean(similarity)),
        "raw_similarity": float(objective.terms(latents.w_raw[None])[0]),
        **mean,
        "score": regressor.predict(mean),
        "seconds": float(found["seconds"]),
    }


def compared(rows: list[dict[str, dict[str, float]]], reference: str, against: str) -> dict[str, float]:
    """Return the figures of agreement over all photographs."""

    def column(profile: str, key: str) -> NDArray[np.float64]:
        return np.array([row[profile][key] for row in rows])

    record: dict[str, float] = {"count": len(rows)}
    for key in ("similarity", "averageness", "total", "raw_similarity"):
        ratio = column(against, key).mean() / column(reference, key).mean()
        record[f"{key}_ratio"] = round(float(ratio), 4)
    for key in rows[0][reference]:
        if key[:2] in ("d_", "l_", "c_", "n_", "s_") or key == "score":
            found = agreement(column(against, key), column(reference, key))
            if key != "score":
                del found["mean_absolute_difference"]
            record |= {f"{key}_{figure}": value for figure, value in found.items()}
    return record


def agreement(a: NDArray[np.float64], b: NDArray[np.float64]) -> dict[str, float]:
    """Return how far two columns agree: Pearson's R of three or more, and differences of `a` from `b`."""
    figures = {"r": pearsonr(a, b).statistic} if len(a) > 2 else {}
    figures |= {"mean_difference": (a - b).mean(), "mean_absolute_difference": np.abs(a - b).mean()}
    return {name: round(float(figure), 4) for name, figure in figures.items()}


if __name__ == "__main__":
    main()
