"""Makes a folder of rated photographs out of nothing: generated faces, drawn anomalies, simulated raters.

It stands in for a site's own data, to see `facenorm calibrate` work from end to end and to see whether it
finds the relation that was planted. Nobody rated anything: raters are called `simulated-1` and so on, which
makes `calibrate` mark the regressor synthetic. The truth of a photograph is 7 - 6 s, s the severity that was
drawn; each rater sees it with a bias of their own and with noise, both normal, and answers in half points.
Every person has two photographs of different severity.

    python -m bench.simulate_ratings --people 60 --output out/rated
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from models.allocator import keep_freed_memory
from models.catalog import GENERATOR
from models.generator import Generator, choose_device, load_generator
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.capture_variation import vary_capture
from pipeline.face import FaceFinder, load_face_finder
from pipeline.generated_face import generated_face
from pipeline.rejection import UnscorablePhotographError

_TRUNCATION = 0.7
_UNDEFORMED_SHARE = 0.3
_VARIATION = 0.3

Row = tuple[str, str, AnomalyKind | str, float]


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--generator", default=GENERATOR)
    arguments.add_argument("--people", type=int, default=60)
    arguments.add_argument("--raters", type=int, default=5)
    arguments.add_argument("--noise", type=float, default=0.6, help="standard deviation, in points")
    arguments.add_argument("--bias", type=float, default=0.3, help="standard deviation between raters")
    arguments.add_argument("--seed", type=int, default=70_000)
    arguments.add_argument("--output", type=Path, default=Path("out/rated"))
    options = arguments.parse_args()
    keep_freed_memory()
    photographs = options.output / "photographs"
    photographs.mkdir(parents=True, exist_ok=True)
    generator, faces = load_generator(options.generator, choose_device("auto")), load_face_finder()
    rows: list[Row] = []
    for person in track(range(options.people), description="drawing"):
        rows += draw_person(generator, faces, person, options.seed, photographs)
    write_ratings(rows, options)
    print(f"{len(rows)} photographs: facenorm calibrate {options.output}/ratings.csv {photographs}")


def draw_person(generator: Generator, faces: FaceFinder, person: int, seed: int, folder: Path) -> list[Row]:
    """Write two photographs of a person; return (file, person, kind, severity), or none: no face."""
    random = np.random.default_rng([seed, person])
    z = torch.from_numpy(random.standard_normal((1, generator.network.w_dim))).float()
    picture = generated_face(generator, z, _TRUNCATION)
    try:
        landmarks = faces.find(picture).landmarks
    except UnscorablePhotographError:
        return []
    kind = AnomalyKind(random.choice([str(k) for k in AnomalyKind]))
    rows: list[Row] = []
    for number in range(2):
        severity = 0.0 if random.uniform() < _UNDEFORMED_SHARE else float(random.uniform(0.2, 1))
        drawn = draw_anomaly(picture, landmarks, kind, severity, person)
        photograph = vary_capture(drawn, _VARIATION, 2 * person + number)
        name = f"{person:04d}-{number}.jpg"
        Image.fromarray(photograph).save(folder / name, quality=92)
        rows.append((name, f"person-{person:04d}", kind if severity else "none", severity))
    return rows


def write_ratings(rows: list[Row], options: argparse.Namespace) -> None:
    """Write `ratings.csv`, and `simulation.json`, which says how the ratings came about."""
    random = np.random.default_rng(options.seed)
    biases = random.normal(0, options.bias, options.raters)
    with (options.output / "ratings.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("photograph", "rater", "rating", "person", "diagnosis"))
        for name, person, kind, severity in rows:
            for rater, bias in enumerate(biases, start=1):
                seen = 7 - 6 * severity + bias + random.normal(0, options.noise)
                rating = float(np.clip(round(2 * seen) / 2, 1, 7))
                table.writerow((name, f"simulated-{rater}", f"{rating:g}", person, str(kind)))
    simulation = {
        "nature": "Simulated. No person rated anything; the faces are generated, the anomalies drawn.",
        "truth": "7 - 6 severity",
        "noise": options.noise,
        "biases": [round(float(bias), 3) for bias in biases],
        "severities": {name: round(severity, 4) for name, _, _, severity in rows},
    }
    (options.output / "simulation.json").write_text(json.dumps(simulation, indent=1) + "\n")


if __name__ == "__main__":
    main()
