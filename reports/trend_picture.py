"""The chart of a patient's scores over encounters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import Final
from unicodedata import east_asian_width

import matplotlib.dates as mdates
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager
from numpy.typing import NDArray

from pipeline.encounter_score import EncounterScore
from reports.document_fonts import japanese
from reports.notices import RESEARCH_USE_NOTICE
from reports.plain_font import font

WIDTH: Final = 1536
HEIGHT: Final = 1024
_DPI: Final = 128
_CURRENT: Final = "#005493"
_OTHERS: Final = ("#6e6e6e", "#a0522d", "#2e7d32", "#7b1fa2")
_MARKERS: Final = ("s", "^", "D", "v", "P")  # one more than colours: twenty setups look different
# Pixels: what a line of the legend has beside its marker, and its letters, rounded up.
_LEGEND_ROOM: Final = 1400
_LEGEND_SIZE: Final = 21
_LEGEND_FONT: Final = font(_LEGEND_SIZE)
# Shares of the height. A line of the legend; how far below the axes it begins; where the axes end when it has
# four lines; where they end at most.
_LINE, _LEGEND_BELOW, _AXES_BOTTOM, _HIGHEST_BOTTOM, _AXES_TOP = 0.031, 0.068, 0.24, 0.7, 0.92


def draw_trend(shown: Sequence[EncounterScore], setup_digest: str) -> NDArray[np.uint8]:
    """Return the chart of the dated encounters in `shown`, uint8 (1024, 1536, 3).

    Only encounters of one setup (generator, regressor, settings, seed, version) are joined by a line, with
    the band of one standard deviation around it. Those of `setup_digest` are filled circles, others hollow.
    Raises ValueError where no encounter has a date.
    """
    dated = [one for one in shown if one.date is not None]
    if not dated:
        raise ValueError("a trend needs an encounter with a date")
    setups = sorted({one.setup_digest for one in dated}, key=lambda one: (one != setup_digest, one))
    figure = Figure(figsize=(WIDTH / _DPI, HEIGHT / _DPI), dpi=_DPI)
    bottom = min(_HIGHEST_BOTTOM, _AXES_BOTTOM + _LINE * max(0, len(setups) - 4))
    height = _AXES_TOP - bottom
    axes = figure.add_axes((0.075, bottom, 0.87, height))
    drawn, labels = [], []
    for number, setup in enumerate(setups):
        scores, current = [one for one in dated if one.setup_digest == setup], setup == setup_digest
        drawn.append(_draw_setup(axes, scores, current, number))
        labels.append(_label(scores[0], current))
    axes.set_ylim(1, 7)
    axes.set_yticks(range(1, 8))
    axes.set_ylabel("score: 1 most deformed, 7 most normal", fontsize=13)
    axes.set_title("Facial normality over time", fontsize=18, fontweight="bold")
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=13)
    locator = mdates.AutoDateLocator(minticks=2, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.DateFormatter("%Y-%m-%d"))  # type: ignore[no-untyped-call]
    days = [mdates.date2num(one.date) for one in dated]  # type: ignore[no-untyped-call]
    margin = max(15.0, 0.1 * (max(days) - min(days)))
    first, last = (mdates.date2num(end) for end in (date.min, date.max))  # type: ignore[no-untyped-call]
    axes.set_xlim(max(first, min(days) - margin), min(last, max(days) + margin))
    below = (0.5, -_LEGEND_BELOW / height)
    # With the labels given here, one that begins with an underscore is not left out; and dollar signs in a
    # site's names enclose no formula.
    legend = axes.legend(
        drawn, labels, loc="upper center", bbox_to_anchor=below, fontsize=11.5, frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_fontfamily(_families())
    notice = f"Frontal photographs; bands: one standard deviation. {RESEARCH_USE_NOTICE}"
    figure.text(0.5, 0.015, notice, ha="center", fontsize=12)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(pixels[:, :, :3], dtype=np.uint8)


def _draw_setup(axes, scores: Sequence[EncounterScore], current: bool, number: int) -> ErrorbarContainer:  # type: ignore[no-untyped-def]  # noqa: ANN001
    colour = _CURRENT if current else _OTHERS[(number - 1) % len(_OTHERS)]
    days = [one.date for one in scores]
    values = np.array([one.value for one in scores])
    spread = np.array([one.uncertainty for one in scores])
    if len(scores) > 1:
        axes.fill_between(days, values - spread, values + spread, color=colour, alpha=0.15, linewidth=0)
    line: ErrorbarContainer = axes.errorbar(
        days,
        values,
        yerr=spread,
        color=colour,
        marker="o" if current else _MARKERS[(number - 1) % len(_MARKERS)],
        markersize=11,
        markerfacecolor=colour if current else "white",
        linestyle="-" if current else "--",
        capsize=5,
    )
    for day, value in zip(days, values, strict=True):
        axes.annotate(f"{value:.2f}", (day, value), (10, 6), textcoords="offset points", fontsize=13)
    return line


def _label(one: EncounterScore, current: bool) -> str:
    told = f", version {one.software_version}, setup {one.setup_digest[:8]}"
    told += "" if current else ": another model or settings, not comparable"
    # A site names its models as it likes: what follows the names must stay in the picture.
    room = _LEGEND_ROOM - _length(told)
    names = f"{one.generator}, {one.regressor}"
    longest = max(len(one.generator), len(one.regressor))
    while longest > 1 and _length(names) > room:
        longest -= 1
        names = ", ".join(_shortened(name, longest) for name in (one.generator, one.regressor))
    return f"{names}{told}"


def _length(text: str) -> float:
    """Return how many pixels a text of the legend takes; letters of the second font are as wide as high."""
    wide = [letter for letter in text if east_asian_width(letter) in "FW"]
    narrow = "".join(letter for letter in text if letter not in wide)
    return _LEGEND_FONT.getlength(narrow) + len(wide) * _LEGEND_SIZE


@cache
def _families() -> list[str]:
    """Return the fonts for a site's names: the second has the letters that the first one lacks."""
    second = japanese()
    fontManager.addfont(second)
    return ["DejaVu Sans", FontProperties(fname=second).get_name()]


def _shortened(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"
