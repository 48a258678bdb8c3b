"""The calibration plot of a regressor: raters' means over predicted scores, and how they go together."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from models.regressor import HIGHEST, LOWEST
from pipeline.regression import FittedRegressor, RatedFeatures
from pipeline.regression_errors import calibration_line, correlation, mean_absolute_error

_BIN = 1.0  # points


def draw_calibration(data: RatedFeatures, fitted: FittedRegressor, path: Path) -> None:
    """Write the plot as a PNG file: a dot per photograph, held-out people in front; means by whole points.

    Raises OSError where the file cannot be written.
    """
    held_out = fitted.held_out
    predicted, rated = fitted.predictions[held_out], data.ratings[held_out]
    people = [data.people[n] for n in np.flatnonzero(held_out)]
    r = correlation(predicted, rated, people)
    found = f"R {r:.2f}, " if math.isfinite(r) else ""
    figure = Figure(figsize=(6, 7), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([LOWEST, HIGHEST], [LOWEST, HIGHEST], color="0.6", linestyle=":", label="ideal")
    axes.scatter(
        fitted.predictions[~held_out], data.ratings[~held_out], s=14, color="0.75", label="in the folds"
    )
    axes.scatter(predicted, rated, s=22, color="tab:blue", label="held-out people")
    middles, means = binned(fitted.predictions, data.ratings)
    axes.plot(middles, means, color="tab:orange", marker="s", label="mean by predicted point, all")
    slope, intercept = calibration_line(predicted, rated, people)
    if math.isfinite(slope):
        ends = np.array([predicted.min(), predicted.max()])
        axes.plot(ends, intercept + slope * ends, color="tab:blue", label=f"held out: slope {slope:.2f}")
    axes.set(
        xlim=(LOWEST - 0.2, HIGHEST + 0.2),
        ylim=(LOWEST - 0.2, HIGHEST + 0.2),
        xlabel="predicted score (1 most deformed, 7 most normal)",
        ylabel="mean of the raters",
        aspect="equal",
        title=f"Held out: {found}MAE {mean_absolute_error(predicted, rated):.2f}",
    )
    figure.legend(loc="outside lower center", fontsize=8, ncols=2)
    figure.savefig(path, format="png", dpi=120, metadata={"Software": "facenorm"})


def binned(
    predicted: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    rated: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> tuple[list[float], list[float]]:
    """Return, for each whole point of prediction that has photographs, the mean prediction and rating."""
    bins = np.floor((predicted - LOWEST) / _BIN)
    there = sorted(set(bins.tolist()))
    return (
        [float(predicted[bins == number].mean()) for number in there],
        [float(rated[bins == number].mean()) for number in there],
    )
