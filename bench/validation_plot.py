"""The validation as a picture: scores of undeformed people by group, and scores against drawn severity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.validation_cases import GENERATED, NEUTRAL
from bench.validation_rows import Row
from bench.validation_tables import by_group, undeformed_scores
from models.regressor import Regressor
from pipeline.perceptual_severity import rating_of

_BLUE, _GREY = "#2a6f97", "#9a9a9a"


def draw_validation(
    rows: Sequence[Row], regressor: Regressor, groups: Mapping[str, Mapping[str, str]], path: Path
) -> None:
    """Write a PNG of two panels. groups: what -> person -> group."""
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(10, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        _by_group(left, rows, regressor, groups)
        _by_severity(right, rows, regressor)
        figure.savefig(path, dpi=110)


def _by_group(
    axis: Axes, rows: Sequence[Row], regressor: Regressor, groups: Mapping[str, Mapping[str, str]]
) -> None:
    """Draw every undeformed person's score, a line at each group's mean."""
    scores = undeformed_scores(rows, regressor)
    columns = [("everybody", list(scores.values()))]
    for of_person in groups.values():
        columns += by_group(scores, of_person).items()
    columns = [(name, found) for name, found in columns if found]
    random = np.random.default_rng(0)
    for place, (_, found) in enumerate(columns):
        axis.plot(place + random.uniform(-0.15, 0.15, len(found)), found, "o", color=_BLUE, ms=4, alpha=0.6)
        axis.plot([place - 0.3, place + 0.3], [np.mean(found)] * 2, color="black")
    axis.axhline(6, color=_GREY, linestyle=":")
    axis.set_xticks(range(len(columns)), [f"{name}\n{len(found)}" for name, found in columns], rotation=35)
    axis.set(title="Undeformed people: score (aim: 6 and above)", ylim=(1, 7), ylabel="score")


def _by_severity(axis: Axes, rows: Sequence[Row], regressor: Regressor) -> None:
    """Draw scores of people and of generated faces against the severity that was drawn."""
    for name, colour, of_people in (("generated faces", _GREY, False), ("people", _BLUE, True)):
        chosen = [row for row in rows if (row.split != GENERATED) == of_people and row.view == NEUTRAL]
        scores = [regressor.predict(row.features) for row in chosen]
        axis.plot([row.severity for row in chosen], scores, "o", ms=3, alpha=0.5, color=colour, label=name)
    severities = np.linspace(0, 1, 20)
    axis.plot(severities, [rating_of(severity) for severity in severities], color="black", label="rating")
    axis.set(title="Drawn anomalies", xlabel="severity", ylim=(1, 7), xlim=(-0.03, 1.3))
    axis.legend(loc="lower left", fontsize=8)
