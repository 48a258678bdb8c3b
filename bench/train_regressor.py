"""Trains the regressor that ships: generated faces with drawn anomalies, rated by what was drawn.

No person rated anything here. The rating of a face is 7 - 6 s, with s its perceptual severity: the square
root of the masked LPIPS between the face with and without its anomaly, as a share of the 95th percentile
over all training faces (so that kinds are on one scale), at most 1. Faces are then photographed by another
camera (`pipeline.capture_variation`), found, aligned and measured exactly as the node does it.
Interrupted, it goes on where it stopped. Selection, search and the card are those of `facenorm calibrate`.

    python -m bench.train_regressor --faces 300 --output out/regressor.json
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress, track

from models.allocator import keep_freed_memory
from models.catalog import GENERATOR
from models.generator import Generator, choose_device, load_generator
from models.lpips import Lpips, load_metric
from pipeline.anomaly import AnomalyKind, draw_anomaly
from pipeline.calibration_card import RegressorOrigin, calibration_card, regressor_document
from pipeline.capture_variation import vary_capture
from pipeline.face import load_face_finder
from pipeline.features import (
    FEATURE_SIDE,
    resized,
    to_tensor,
)
from pipeline.generated_face import generated_face
from pipeline.kept_measurements import averaged_features
from pipeline.measurement import FaceMeasurer, Stopwatch
from pipeline.profile import Profile
from pipeline.regression import TRIALS, RatedFeatures, fit_regressor
from pipeline.rejection import UnscorablePhotographError

_TRUNCATION = 0.85
_UNDEFORMED_SHARE = 0.35
_LEAST_SEVERITY = 0.4
_GREATEST_VARIATION = 0.5


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--generator", default=GENERATOR)
    arguments.add_argument("--profile", default="fast")
    arguments.add_argument("--faces", type=int, default=300)
    arguments.add_argument(
        "--candidates", type=int, default=1, help="K while training; the mean does not depend on it"
    )
    arguments.add_argument("--seed", type=int, default=900_000)
    arguments.add_argument(
        "--part", default="0/1", help="I/N: measure only every N-th face, to share the work"
    )
    arguments.add_argument("--rows", type=Path, default=Path("out/ratings"))
    arguments.add_argument("--name", default="", help="of the regressor")
    arguments.add_argument("--trials", type=int, default=TRIALS, help="settings tried for each model")
    arguments.add_argument("--output", type=Path, help="write the regressor (after all parts are there)")
    options = arguments.parse_args()
    keep_freed_memory()
    generator = load_generator(options.generator, choose_device("auto"))
    options.rows.mkdir(parents=True, exist_ok=True)
    part, parts = (int(n) for n in options.part.split("/"))
    measure_all(generator, options, range(part, options.faces, parts))
    if options.output:
        write_regressor(generator, options)


def measure_all(generator: Generator, options: argparse.Namespace, numbers: range) -> None:
    """Measure the faces that have no row yet."""
    metric = load_metric(generator.device)
    faces = load_face_finder()
    settings = {**generator.card.profiles[options.profile], "candidates": options.candidates}
    measurer = FaceMeasurer(generator, metric, faces, Profile.from_card(settings), seed=0)
    for number in track(numbers, description="measuring"):
        path = options.rows / f"{number:05d}.json"
        if not path.exists():
            row = measured(generator, metric, measurer, number, options.seed)
            path.with_suffix(".part").write_text(json.dumps(row))
            path.with_suffix(".part").rename(path)


def measured(
    generator: Generator, metric: Lpips, measurer: FaceMeasurer, number: int, seed: int
) -> dict[str, object]:
    """Return one training row: kind, drawn severity, perceptual distance and all features."""
    random = np.random.default_rng([seed, number])
    z = torch.from_numpy(random.standard_normal((1, generator.network.w_dim))).float()
    picture = generated_face(generator, z, _TRUNCATION)
    kind = AnomalyKind(random.choice([str(k) for k in AnomalyKind]))
    severity = 0.0 if random.uniform() < _UNDEFORMED_SHARE else float(random.uniform(_LEAST_SEVERITY, 1))
    try:
        original = measurer.locate(picture, Stopwatch())
        deformed = draw_anomaly(
            picture, original.alignment.to_photograph(original.landmarks), kind, severity, number
        )
        distance = perceptual_distance(metric, picture, deformed, original.mask, generator.device)
        photographed = vary_capture(deformed, float(random.uniform(0, _GREATEST_VARIATION)), number)
        found = measurer.measure(measurer.locate(photographed, Stopwatch()), Stopwatch())
    except UnscorablePhotographError as error:
        return {"kind": kind, "severity": severity, "rejected": str(error)}
    return {
        "kind": kind,
        "severity": severity,
        "distance": distance,
        "features": averaged_features(found),
    }


@torch.no_grad()
def perceptual_distance(
    metric: Lpips, a: NDArray[np.uint8], b: NDArray[np.uint8], mask: NDArray[np.float32], device: torch.device
) -> float:
    """Return the masked LPIPS between two pictures at the features' resolution."""
    small = resized(torch.from_numpy(mask).to(device)[None, None], FEATURE_SIDE)
    pictures = [resized(to_tensor(p, device)[None], FEATURE_SIDE) * small for p in (a, b)]
    return float(metric(pictures[0], pictures[1], small)[0])


def write_regressor(generator: Generator, options: argparse.Namespace) -> None:
    """Fit all rows and write the regressor with its card."""
    paths = sorted(options.rows.glob("*.json"))
    rows = {path.stem: row for path in paths if "features" in (row := json.loads(path.read_text()))}
    distance = np.array([row["distance"] for row in rows.values()])
    reference = float(np.percentile(distance[distance > 0], 95))
    names = tuple(next(iter(rows.values()))["features"])
    data = RatedFeatures(
        names=names,
        features=np.array([[row["features"][name] for name in names] for row in rows.values()]),
        ratings=7 - 6 * np.minimum(1, np.sqrt(distance / reference)),
        people=tuple(rows),
    )
    kinds = [row["kind"] if row["severity"] else "undeformed" for row in rows.values()]
    with Progress() as bar:
        task = bar.add_task("comparing models", total=None)
        fitted = fit_regressor(data, 0, options.trials, lambda model: bar.update(task, description=model))
    card = calibration_card(
        data,
        fitted,
        described(options, kinds, reference),
        {"anomaly": kinds},
        seed=0,
        date=datetime.now(UTC).date().isoformat(),
    )
    origin = RegressorOrigin(
        options.name or f"{generator.name}-synthetic-3",
        generator.name,
        generator.sha256,
        options.profile,
        True,
    )
    content = json.dumps(regressor_document(fitted, origin, card), indent=1, allow_nan=False)
    options.output.write_text(content + "\n")
    chosen = fitted.compared[fitted.model]
    print(f"{fitted.model} of {', '.join(fitted.features)}, {len(rows)} faces:")
    print(f"  in the folds R {chosen.cross_validated_r:.3f}, MAE {chosen.cross_validated_mae:.3f}")
    print(f"  held out     R {chosen.held_out_r:.3f}, MAE {chosen.held_out_mae:.3f}")


def described(options: argparse.Namespace, kinds: list[str], reference: float) -> dict[str, object]:
    """Return what the card says about the data."""
    return {
        "ratings": "Synthetic: 7 - 6 s, s the perceptual severity of a drawn anomaly "
        "on generated faces. No person rated anything; hardly any of the faces is a child.",
        "photographs": len(kinds),
        "by_kind": dict(sorted(Counter(kinds).items())),
        "reference_distance": reference,
        "seed": options.seed,
        "candidates": options.candidates,
    }


if __name__ == "__main__":
    main()
