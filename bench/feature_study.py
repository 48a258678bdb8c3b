"""What each kind of figure would add to a score that rests on the anomaly network's greatest local anomaly.

Beside the features that are measured anyway it takes the figures of `bench.further_measures`: the metric on
finer pictures, the deviation beyond the raw inversion's, shape. Each is joined to `n_peak` in a ridge
regression on generated faces, and judged in folds there and on people with drawn anomalies.

    python -m bench.further_measures --photos DIR
    python -m bench.feature_study --report bench/results/feature_study.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as Shown
from safetensors.numpy import load_file

from bench.further_measures import FINE_SIDE
from bench.validation_cases import GENERATED, HELD_OUT, NEUTRAL, SMILING, TUNING
from bench.validation_rows import Row, read_rows
from bench.validation_tables import (
    Array,
    Table,
    drawn_on,
    gains_of_pairs,
    in_folds,
    matrix,
    on_scale,
    pearson,
    rated,
    ridge,
)
from pipeline.face_shape import MIRRORED
from pipeline.features import FEATURE_SIDE
from pipeline.shape_features import displacement

_BASE = ("n_peak",)

JOINED: Mapping[str, tuple[str, ...]] = {
    "nothing": (),
    "the network's other figures": ("n_severity", "n_size", "n_asymmetry"),
    "its answers to the mirror image, too": ("mirrored_peak",),
    "the paper's five": ("d_xperc", "d_xstr", "d_xpsnr", "d_wbc", "d_wcorr"),
    "local LPIPS, by 99th percentile and contrast": ("l_p99", "l_contrast"),
    "left-right differences of it": ("l_asymmetry",),
    "colour apart from shape": ("c_p99", "c_asymmetry"),
    "LPIPS at 512 px": ("fine_distance", "fine_p99"),
    "LPIPS beyond the raw inversion's": ("gain", "gain_p99"),
    "normalized face from raw inversion": ("beyond_mean", "beyond_p99"),
    "landmarks: all, mean distance": ("g_mean",),
    "landmarks: left-right difference": ("g_asymmetry",),
    "landmarks: chin, `s_chin`": ("s_chin",),
    "landmarks: disagreement, `s_disagreement`": ("s_disagreement",),
    "`s_chin` and `s_disagreement`": ("s_chin", "s_disagreement"),
}


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rows", type=Path, default=Path("out/validation"))
    arguments.add_argument("--further", type=Path, default=Path("out/further"))
    arguments.add_argument("--report", type=Path, help="write the table as JSON, too")
    options = arguments.parse_args()
    rows = [with_further(row, options.further) for row in read_rows(options.rows)]
    table = study(rows)
    shown = Shown(*table[0], title="n_peak joined by")
    for cells in table[1:]:
        shown.add_row(*cells)
    Console().print(shown)
    if options.report:
        options.report.write_text(json.dumps({"rows": len(rows), "table": table}, indent=1) + "\n")


def with_further(row: Row, folder: Path) -> Row:
    """Return the row with the figures of `bench.further_measures` among its features."""
    kept = load_file(folder / f"{row.name}.safetensors")
    inside = kept["mask"] > 0.5
    coarse, fine, beyond = (kept[name] for name in (f"maps_{FEATURE_SIDE}", f"maps_{FINE_SIDE}", "beyond"))
    of_raw, of_norm = kept[f"distances_{FEATURE_SIDE}"][0], kept[f"distances_{FEATURE_SIDE}"][1:]
    # The mean of the network's members and of both ways round; the first picture is the raw inversion's.
    judged = kept["judged"].mean((0, 1))[1:]
    figures = {
        "mirrored_peak": judged.max((1, 2)).mean(),
        "fine_distance": kept[f"distances_{FINE_SIDE}"][1:].mean(),
        "fine_p99": _p99(fine[1:], inside),
        "gain": (of_norm - of_raw).mean(),
        "gain_p99": _p99(coarse[1:] - coarse[:1], inside),
        "beyond_mean": beyond[:, inside].mean(),
        "beyond_p99": _p99(beyond, inside),
        **shape_differences(kept["landmarks"]),
    }
    named = {name: float(value) for name, value in figures.items()}
    return replace(row, features={**row.features, **named})


def _p99(maps: Array, inside: NDArray[np.bool_]) -> float:
    return float(np.mean([np.quantile(one[inside], 0.99) for one in maps]))


def shape_differences(landmarks: Array) -> dict[str, float]:
    """Return how far landmarks (P, 68, 2) of a photograph lie from those of its normalized pictures.

    The second are the raw inversion's. In px: `g_mean`, over all landmarks; `g_asymmetry`, of the difference
    from its own mirror image.
    """
    seen, _, *normalized = landmarks
    field = np.mean([displacement(seen, usual) for usual in normalized], axis=0)
    mirrored = -np.conj(field[list(MIRRORED)])
    return {"g_mean": np.abs(field).mean(), "g_asymmetry": np.abs(field - mirrored).mean()}


def study(rows: Sequence[Row]) -> Table:
    """Return the table: R on generated faces, R and pairs in order on people, and what it costs."""
    head = ["joined by", "generated, in folds", "people tuned on: R", "pairs in order", "held out: R",
            "pairs in order", "undeformed", "smiling"]  # fmt: skip
    return [head, *([title, *judged(rows, (*_BASE, *names))] for title, names in JOINED.items())]


def judged(rows: Sequence[Row], names: tuple[str, ...], also: Sequence[Row] = ()) -> list[str]:
    """Return what a regression on these features reaches, as a line's cells.

    also: rows that it is fitted to besides the generated faces, but for the folds.
    """
    generated = [row for row in rows if row.split == GENERATED]
    x, y = matrix(generated, names), rated(generated)
    fitted = [*generated, *also]
    model = ridge().fit(matrix(fitted, names), rated(fitted))

    def scores(of: Sequence[Row]) -> Array:
        return on_scale(model.predict(matrix(of, names)))

    cells = [f"{pearson(in_folds(x, y), y):.2f}"]
    for split in (TUNING, HELD_OUT):
        of = drawn_on(rows, split)
        found = dict(zip(map(id, of), scores(of), strict=True))
        gains = gains_of_pairs(of, lambda row: found[id(row)])  # noqa: B023 -- called here and now
        cells += [f"{pearson(scores(of), rated(of)):.2f}", f"{100 * np.mean(np.array(gains) > 0):.0f} %"]
    plain = [row for row in rows if row.split != GENERATED and not row.kind]
    neutral = {row.person: row for row in plain if row.view == NEUTRAL}
    smiling = [row for row in plain if row.view == SMILING]
    moved = scores(smiling) - scores([neutral[row.person] for row in smiling])
    undeformed = scores(list(neutral.values()))
    return [*cells, f"{undeformed.mean():.2f} ± {undeformed.std(ddof=1):.2f}", f"{np.abs(moved).mean():.2f}"]


if __name__ == "__main__":
    main()
