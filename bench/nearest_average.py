"""Whether an average nearer to the person narrows the gaps between groups, and what it costs in sensitivity.

The pull is towards the nearest of K averages (`pipeline.nearest_average`) instead of the one over everybody.
People of --photos, undeformed and with one full anomaly each, are measured under every K; the regressor is
the shipped one. Resumable.

    python -m bench.nearest_average --photos DIR [--averages 1 4 16] [--rows out/averages]
        [--record bench/results/nearest_average.json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table

from bench.evaluate import groups_in
from bench.fit_averages import latent_averages
from bench.validation_cases import NEUTRAL, Case, people
from bench.validation_pictures import case_picture
from bench.validation_tables import by_group, gap_between
from models.allocator import keep_freed_memory
from models.catalog import GENERATOR
from models.generator import Generator, load_generator
from models.latent_averages import LatentAverages
from models.lpips import load_metric
from models.regressor import Regressor, load_regressor
from pipeline.anomaly import AnomalyKind
from pipeline.face import load_face_finder
from pipeline.kept_measurements import averaged_features
from pipeline.measurement import FaceMeasurer
from pipeline.newton_normalization import StepEngine
from pipeline.profile import Profile
from pipeline.stopwatch import Stopwatch

_FULL = 1.0


def main() -> None:
    """Measure what is missing, and print the table."""
    arguments = argparse.ArgumentParser(description="Averages nearer to the person.")
    arguments.add_argument("--photos", type=Path, metavar="DIR", required=True)
    arguments.add_argument("--averages", type=int, nargs="+", default=[1, 4, 16])
    arguments.add_argument("--seconds", type=float, default=1e9, help="begin nothing further after")
    arguments.add_argument("--rows", type=Path, default=Path("out/averages"))
    arguments.add_argument("--record", type=Path, metavar="FILE")
    options = arguments.parse_args()
    keep_freed_memory()
    generator = load_generator(GENERATOR, torch.device("cpu"))
    regressor = load_regressor(generator.folder / generator.card.regressor)
    cases = cases_of(options.photos)
    measurers = {k: measurer_with(generator, k) for k in options.averages}
    began = time.perf_counter()
    with Bar() as bar:
        task = bar.add_task("measuring", total=len(cases) * len(measurers))
        for case in cases:
            if time.perf_counter() - began > options.seconds:
                break
            measure(case, options.photos, options.rows, measurers)
            bar.advance(task, len(measurers))
    groups = groups_in(options.photos)
    record = {
        str(k): figures(read(options.rows / str(k), cases, regressor), cases, groups)
        for k in options.averages
    }
    _show(record)
    if options.record:
        options.record.write_text(json.dumps(record, indent=2) + "\n")


def cases_of(photos: Path) -> list[Case]:
    """Return everybody's neutral photograph, as it is and with one kind of anomaly, all kinds in turn."""
    found, kinds = people(photos), list(AnomalyKind)
    plain = [Case(person, split, NEUTRAL) for person, split in found.items()]
    drawn = [
        replace(case, kind=str(kinds[n % len(kinds)]), level=_FULL, seed=1000 * n)
        for n, case in enumerate(plain)
    ]
    return plain + drawn


def measurer_with(generator: Generator, count: int) -> FaceMeasurer:
    """Return what measures faces that are pulled to the nearest of `count` averages, one candidate each."""
    pulled = replace(generator, averages=LatentAverages(latent_averages(generator, count)))
    metric = load_metric(generator.device)
    profile = dict(generator.card.profiles["fast"]) | {"candidates": 1, "average": "nearest"}
    engine = StepEngine.plain(pulled, metric)
    return FaceMeasurer(pulled, metric, load_face_finder(), Profile.from_card(profile), 0, engine=engine)


def measure(case: Case, photos: Path, rows: Path, measurers: Mapping[int, FaceMeasurer]) -> None:
    """Write a row for each K that has none yet; a face that is not found has no features."""
    paths = {k: rows / str(k) / f"{case.name}.json" for k in measurers}
    if all(path.exists() for path in paths.values()):
        return
    face = case_picture(case, photos, None).face
    for k, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        features = averaged_features(measurers[k].measure(face, Stopwatch())) if face is not None else {}
        path.write_text(json.dumps({"features": features}))


def read(folder: Path, cases: Sequence[Case], regressor: Regressor) -> dict[str, float]:
    """Return case -> score, of those that have been measured."""
    paths = {case.name: folder / f"{case.name}.json" for case in cases}
    found = {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}
    return {name: regressor.predict(row["features"]) for name, row in found.items() if row["features"]}


def figures(
    scores: Mapping[str, float], cases: Sequence[Case], groups: Mapping[str, Mapping[str, str]]
) -> dict[str, object]:
    """Return means, gap and sensitivity, in points."""
    plain = {c.person: scores[c.name] for c in cases if not c.kind and c.name in scores}
    drawn = {c.person: scores[c.name] for c in cases if c.kind and c.name in scores}
    drops = np.array([plain[person] - drawn[person] for person in plain if person in drawn])
    result: dict[str, object] = {
        "people": len(plain),
        "pairs": len(drops),
        "undeformed": round(float(np.mean(list(plain.values()))), 2),
    }
    for what, of_person in groups.items():
        large = {name: s for name, s in by_group(plain, of_person).items() if len(s) >= 10}
        result |= {name: round(float(np.mean(s)), 2) for name, s in large.items()}
        if len(large) > 1:
            result[f"gap in {what}"] = gap_between(list(large.values()))
    return result | {
        "drop": round(float(drops.mean()), 2),
        "drop by its standard deviation": round(float(drops.mean() / drops.std(ddof=1)), 2),
        "pairs in order": f"{100 * float((drops > 0).mean()):.0f} %",
    }


def _show(record: Mapping[str, Mapping[str, object]]) -> None:
    table = Table("averages", *next(iter(record.values())))
    for k, found in record.items():
        table.add_row(k, *(str(value) for value in found.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
