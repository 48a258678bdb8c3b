"""What K candidates buy: how well a score repeats, and how far an anomaly stands out, for K from 1 to 10.

Every face is photographed several times by another camera (`pipeline.capture_variation`), with and without a
drawn anomaly, and measured with ten candidates, each time from another seed; the features are then averaged
over the first K of them. Reported per K:

- repeat_sd: standard deviation of the score between photographs of one face, in points (pooled);
- spread: mean standard deviation of the candidates' own scores, in points;
- growth: mean fall of the score by the anomaly, in points;
- separation: growth in units of repeat_sd.

A finished photograph is kept in --folder, so that the study can be interrupted. The figures go to --output,
no faces.

    python -m bench.study_candidates --faces 3 --repeats 3
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.allocator import keep_freed_memory
from models.catalog import GENERATOR
from models.generator import Generator, choose_device, load_generator
from models.lpips import Lpips, load_metric
from models.regressor import Regressor, load_regressor
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.capture_variation import vary_capture
from pipeline.face import FaceFinder, load_face_finder
from pipeline.generated_face import generated_face
from pipeline.measurement import FaceMeasurer
from pipeline.photograph import read_photograph
from pipeline.profile import MOST_CANDIDATES, Profile
from pipeline.rejection import UnscorablePhotographError
from pipeline.stopwatch import Stopwatch

_TRUNCATION, _SEVERITY, _VARIATION = 0.85, 0.9, 0.5
Row = Mapping[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--faces", type=int, default=10)
    arguments.add_argument("--repeats", type=int, default=3, help="photographs of a face")
    arguments.add_argument("--photos", type=Path, help="real photographs instead of generated faces")
    arguments.add_argument("--pattern", default="*_03.jpg", help="which of its files, one a person")
    arguments.add_argument("--profile", default="fast")
    arguments.add_argument("--part", default="0/1", help="I/N: only every N-th face, to share the work")
    arguments.add_argument("--folder", type=Path, default=Path("out/candidates"))
    arguments.add_argument("--output", type=Path, default=Path("bench/results/study_candidates.json"))
    options = arguments.parse_args()
    keep_freed_memory()
    generator = load_generator(GENERATOR, choose_device("auto"))
    settings = generator.card.profiles[options.profile]
    profile = replace(Profile.from_card(settings), candidates=MOST_CANDIDATES)
    tools = generator, load_metric(generator.device), load_face_finder()
    options.folder.mkdir(parents=True, exist_ok=True)
    part, parts = (int(n) for n in options.part.split("/"))
    photographs = [
        (number, deformed, repeat)
        for number in range(part, options.faces, parts)
        for deformed in (False, True)
        for repeat in range(options.repeats)
    ]
    for photograph in track(photographs, description="measuring"):
        keep(photograph, tools, profile, options)
    rows = [json.loads(row_path(photograph, profile, options).read_text()) for photograph in photographs]
    regressor = load_regressor(generator.folder / generator.card.regressor)
    record = studied([row for row in rows if "candidates" in row], regressor)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    show(record)


def keep(
    photograph: tuple[int, bool, int],
    tools: tuple[Generator, Lpips, FaceFinder],
    profile: Profile,
    options: argparse.Namespace,
) -> None:
    """Measure one photograph of one face, unless that has been done."""
    path = row_path(photograph, profile, options)
    if path.exists():
        return
    number, deformed, repeat = photograph
    row: dict[str, Any] = {"face": number, "deformed": deformed, "repeat": repeat}
    generator, metric, faces = tools
    measurer = FaceMeasurer(generator, metric, faces, profile, seed=repeat)
    watch = Stopwatch()
    try:
        picture = photographed(number, deformed, repeat, generator, measurer, options)
        found = measurer.measure(measurer.locate(picture, watch), watch)
        row["candidates"] = [
            {**features.as_dict(), **local, **further}
            for features, local, further in zip(
                found.features, found.local_features, found.further_features, strict=True
            )
        ]
    except UnscorablePhotographError as error:
        row["rejected"] = str(error)
    path.with_suffix(".part").write_text(json.dumps({**row, "seconds": watch.seconds}))
    path.with_suffix(".part").rename(path)


def row_path(photograph: tuple[int, bool, int], profile: Profile, options: argparse.Namespace) -> Path:
    """Return where a row is kept: another for other settings."""
    source = [str(options.photos), options.pattern] if options.photos else "generated"
    settings = json.dumps([profile.as_dict(), source], sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    number, deformed, repeat = photograph
    return options.folder / f"{number:04d}-{int(deformed)}-{repeat:02d}-{digest}.json"


def photographed(
    number: int,
    deformed: bool,
    repeat: int,
    generator: Generator,
    measurer: FaceMeasurer,
    options: argparse.Namespace,
) -> NDArray[np.uint8]:
    """Return one photograph of a face, with its anomaly or without, by another camera for every repeat."""
    picture = face(number, generator, options)
    if deformed:
        found = measurer.locate(picture, Stopwatch())
        kind = list(AnomalyKind)[number % len(AnomalyKind)]
        landmarks = found.alignment.to_photograph(found.landmarks)
        picture = draw_anomaly(picture, landmarks, kind, _SEVERITY, number)
    return vary_capture(picture, _VARIATION, 1000 * number + 10 * repeat + int(deformed))


def face(number: int, generator: Generator, options: argparse.Namespace) -> NDArray[np.uint8]:
    if options.photos is None:
        z = np.random.default_rng([311, number]).standard_normal((1, generator.network.w_dim))
        return generated_face(generator, torch.from_numpy(z).float(), _TRUNCATION)
    paths = sorted(options.photos.glob(options.pattern))
    if number >= len(paths):
        raise SystemExit(f"{options.photos} holds {len(paths)} photographs; ask for fewer --faces")
    return read_photograph(paths[number])


def studied(rows: list[Row], regressor: Regressor) -> dict[str, Any]:
    """Return the figures for every K."""
    people = {row["face"] for row in rows}
    record: dict[str, Any] = {
        "faces": len(people),
        "photographs": len(rows),
        "normalize_seconds_at_10": round(float(np.mean([row["seconds"]["normalize"] for row in rows])), 1),
        "by_k": {str(k): figures(rows, k, regressor) for k in range(1, MOST_CANDIDATES + 1)},
    }
    return record


def figures(rows: list[Row], k: int, regressor: Regressor) -> dict[str, float]:
    """Return the figures with the features averaged over the first k candidates."""
    scores: dict[tuple[int, bool], list[float]] = {}
    spreads = []
    for row in rows:
        kept = row["candidates"][:k]
        mean = {name: float(np.mean([one[name] for one in kept])) for name in kept[0]}
        scores.setdefault((row["face"], row["deformed"]), []).append(regressor.predict(mean))
        if k > 1:
            spreads.append(np.std([regressor.predict(one) for one in kept], ddof=1))
    variances = [np.var(values, ddof=1) for values in scores.values() if len(values) > 1]
    repeat_sd = float(np.sqrt(np.mean(variances))) if variances else float("nan")
    growth = [
        float(np.mean(scores[number, False]) - np.mean(scores[number, True]))
        for number, deformed in scores
        if deformed and (number, False) in scores
    ]
    fall = float(np.mean(growth))
    found = {"repeat_sd": repeat_sd, "growth": fall, "separation": fall / repeat_sd}
    if spreads:
        found["spread"] = float(np.mean(spreads))
    return {name: round(value, 4) for name, value in found.items()}


def show(record: dict[str, Any]) -> None:
    table = Table("K", "repeat_sd", "spread", "growth", "separation")
    for k, found in record["by_k"].items():
        table.add_row(k, *(str(found.get(c, "")) for c in ("repeat_sd", "spread", "growth", "separation")))
    Console().print(table)


if __name__ == "__main__":
    main()
