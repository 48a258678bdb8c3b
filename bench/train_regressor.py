"""Fits the regressor that ships: generated faces with drawn anomalies, rated by what was drawn.

No person rated anything here. The rating of a face is 7 - 6 s, with s the perceptual severity of what was
drawn on it (`pipeline.perceptual_severity`). The faces are those of `bench.measure_cases --generated`,
measured exactly as the node does it. Selection, search and the card are those of `facenorm calibrate`.

    python -m bench.measure_cases --generated 400
    python -m bench.train_regressor --output out/regressor.json
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from bench.validation_cases import GENERATED, NEUTRAL, RETAKES, SMILING
from bench.validation_rows import Row, read_rows, setup_of
from bench.validation_tables import matrix, rated
from models.catalog import GENERATOR
from models.generator import Generator, load_generator
from models.regressor import load_regressor
from pipeline.calibration_card import RegressorOrigin, calibration_card, regressor_document
from pipeline.perceptual_severity import FULL_DISTANCE
from pipeline.regression import TRIALS, RatedFeatures, fit_regressor
from pipeline.regression_models import MODELS
from pipeline.shape_features import SHAPE_FEATURES


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--generator", default=GENERATOR)
    arguments.add_argument("--rows", type=Path, default=Path("out/validation"))
    arguments.add_argument("--name", default="", help="of the regressor")
    arguments.add_argument("--trials", type=int, default=TRIALS, help="settings tried for each model")
    arguments.add_argument(
        "--models", nargs="*", default=["linear", "ridge", "lasso"], choices=tuple(MODELS),
        help="those to choose from; the others hold up worse on people (docs/validation.md)",
    )  # fmt: skip
    arguments.add_argument(
        "--features", nargs="*", default=["n_peak", *SHAPE_FEATURES],
        help="those to choose from; the anomaly network's others widen the gap between groups",
    )  # fmt: skip
    arguments.add_argument("--output", type=Path, required=True)
    options = arguments.parse_args()
    write_regressor(load_generator(options.generator, torch.device("cpu")), options)


def rated_features(rows: list[Row], names: tuple[str, ...]) -> RatedFeatures:
    """Return these features of the generated faces with what they would be rated."""
    return RatedFeatures(
        names=names,
        features=matrix(rows, names),
        ratings=rated(rows),
        people=tuple(row.person for row in rows),
    )


def write_regressor(generator: Generator, options: argparse.Namespace) -> None:
    """Fit all rows and write the regressor with its card."""
    everything, setup = read_rows(options.rows), setup_of(options.rows)
    if setup["generator"] != generator.sha256:
        raise SystemExit(f"{options.rows} was measured with other weights than those of {generator.name}")
    rows = [row for row in everything if row.split == GENERATED]
    data = rated_features(rows, tuple(options.features))
    kinds = [row.kind or "undeformed" for row in rows]
    with Progress() as bar:
        task = bar.add_task("comparing models", total=None)
        fitted = fit_regressor(
            data, 0, options.trials, lambda model: bar.update(task, description=model), options.models
        )
    card = calibration_card(
        data,
        fitted,
        described(kinds),
        {"anomaly": kinds},
        seed=0,
        date=datetime.now(UTC).date().isoformat(),
    ) | {"measured_with": setup}
    origin = RegressorOrigin(
        options.name or f"{generator.name}-synthetic-7",
        generator.name,
        generator.sha256,
        str(setup["profile"][0]),  # type: ignore[index]
        True,
    )
    options.output.write_text(
        json.dumps(regressor_document(fitted, origin, card), indent=1, allow_nan=False) + "\n"
    )
    add_repeatability(options.output, everything)
    chosen = fitted.compared[fitted.model]
    print(f"{fitted.model} of {', '.join(fitted.features)}, {len(rows)} faces:")
    print(f"  in the folds R {chosen.cross_validated_r:.3f}, MAE {chosen.cross_validated_mae:.3f}")
    print(f"  held out     R {chosen.held_out_r:.3f}, MAE {chosen.held_out_mae:.3f}")


def described(kinds: list[str]) -> dict[str, object]:
    """Return what the card says about the data."""
    return {
        "ratings": "Synthetic: 7 - 6 s, s the perceptual severity of a drawn anomaly "
        "on generated faces. No person rated anything; hardly any of the faces is a child.",
        "photographs": len(kinds),
        "by_kind": dict(sorted(Counter(kinds).items())),
        "full_distance": FULL_DISTANCE,
    }


def add_repeatability(path: Path, rows: list[Row]) -> None:
    """Add to the card how far the scores of one face lie apart when it is photographed anew (one sd)."""
    regressor = load_regressor(path)
    parts = repeatability(
        [
            (row.person, row.view, regressor.predict(row.features))
            for row in rows
            if row.split != GENERATED and not row.kind
        ]
    )
    if not parts:
        return
    document = json.loads(path.read_text("utf-8"))
    total = float(np.sqrt(sum(part["sd"] ** 2 for part in parts.values())))
    document["card"] |= {"repeatability_sd": round(total, 3), "repeatability_of": parts}
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", "utf-8")


def repeatability(scores: list[tuple[str, str, float]]) -> dict[str, dict[str, float]]:
    """Return the standard deviations of a face's score, in points, and of how many people each is known.

    "camera": the same exposure through other cameras and light. "another photograph": with another
    expression; of the two a patient's next photograph has both. scores: person, view, score, of undeformed
    people; a part that nobody was measured for is left out.
    """
    of: dict[str, dict[str, float]] = {}
    for person, view, score in scores:
        of.setdefault(person, {})[view] = score
    kinds = {"camera": ((NEUTRAL, *RETAKES), 3), "another photograph": ((NEUTRAL, SMILING), 2)}
    parts = {}
    for name, (views, fewest) in kinds.items():
        found = [[of[person][view] for view in views if view in of[person]] for person in sorted(of)]
        variances = [float(np.var(one, ddof=1)) for one in found if len(one) >= fewest]
        if variances:
            parts[name] = {"sd": round(float(np.sqrt(np.mean(variances))), 3), "people": len(variances)}
    return parts


if __name__ == "__main__":
    main()
