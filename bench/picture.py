"""The picture of a bench: ratios and stages as bars, growth as curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

Record = Mapping[str, Any]
_BLUE, _GREY, _ORANGE = "#2a6f97", "#9a9a9a", "#d1721f"
_COLUMNS = 3
_SPEED = {
    "plain loop": "plain_seconds_per_photograph",
    "the same on our generator": "plain_own_generator_seconds_per_photograph",
    "and metric at 256 px": "reference_seconds_per_photograph",
    "projector": "projector_seconds_per_photograph",
    "facenorm": "seconds_per_photograph",
    "facenorm, in a batch": "batch_seconds_per_photograph",
}
_GROWTH = {
    "size": ("Photograph's size", "megapixels"),
    "study": ("Photographs in a study", "photographs"),
    "history": ("Earlier encounters", "encounters"),
    "queue": ("Waiting studies", "studies"),
}


def draw(records: Mapping[str, Record], path: Path) -> None:
    """Write a PNG with a panel for everything that `records`, parts of a bench by name, has figures of.

    Raises ValueError where there is nothing to draw.
    """
    panels = list(_panels(records))
    if not panels:
        raise ValueError("no part of the bench has anything to draw")
    rows = -(-len(panels) // _COLUMNS)
    columns = min(len(panels), _COLUMNS)
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(4.6 * columns, 3.7 * rows), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for panel, axis in zip(panels, axes, strict=False):
            panel(axis)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


def _panels(records: Mapping[str, Record]) -> list[Callable[[Any], None]]:
    found: list[Callable[[Any], None]] = []
    speed, receiving = records.get("scoring_speed", {}), records.get("receiving", {})
    memory, growth = records.get("memory", {}), records.get("growth", {})
    if "plain_seconds_per_photograph" in speed:
        found.append(partial(_speed, record=speed))
    for associations, cases in receiving.get("by_associations", {}).items():
        found.append(partial(_receiving, associations=associations, cases=cases))
    if "peak_megabytes" in memory:
        figures = memory["peak_megabytes"]
        found.append(partial(_bars, title="Peak memory by stage", unit="MB", figures=figures))
    flat = {name: memory[f"flat_{name}"] for name in ("tiny", "real") if f"flat_{name}" in memory}
    if flat:
        found.append(partial(_course, flat=flat))
    for kind in _GROWTH:
        if growth.get(kind):
            found.append(partial(_growth, kind=kind, points=growth[kind]))
    return found


def _speed(axis: Any, record: Record) -> None:  # noqa: ANN401 -- matplotlib's axes, here and below
    figures = {label: record[key] for label, key in _SPEED.items() if key in record}
    _bars(axis, f"Seconds a photograph: {record['ratio']:g} times faster", "s", figures)
    axis.set_xscale("log")
    axis.set_xlim(right=max(figures.values()) * 6)


def _receiving(axis: Any, associations: str, cases: Record) -> None:  # noqa: ANN401
    figures = {name: case["objects_per_second"] for name, case in cases.items()}
    title = f"Received, {associations} association{'s' if associations != '1' else ''} at once"
    _bars(axis, title, "objects/s", figures, {n: c.get("ratio_to_orthanc") for n, c in cases.items()})


def _bars(
    axis: Any,  # noqa: ANN401
    title: str,
    unit: str,
    figures: Mapping[str, float],
    ratios: Mapping[str, float | None] | None = None,
) -> None:
    names = list(figures)
    colours = [_BLUE if "facenorm" in name or unit == "MB" else _GREY for name in names]
    bars = axis.barh(names, list(figures.values()), color=colours)
    labels = [f"{figures[name]:.0f}" if figures[name] >= 100 else f"{figures[name]:.3g}" for name in names]
    for number, name in enumerate(names):
        if ratios and ratios.get(name):
            labels[number] += f" ({ratios[name]:.2f} x Orthanc)"
    axis.bar_label(bars, labels, padding=3)
    axis.invert_yaxis()
    axis.margins(x=0.25)
    axis.set_title(title)
    axis.set_xlabel(unit)


def _course(axis: Any, flat: Mapping[str, Record]) -> None:  # noqa: ANN401
    for (name, record), colour in zip(flat.items(), (_ORANGE, _BLUE), strict=False):
        values = record["megabytes"]
        numbers = [1 + record["every"] * n for n in range(len(values))]
        share = [100 * n / record["photographs"] for n in numbers]
        axis.plot(
            share, values, ".-", color=colour, label=f"{name} generator, {record['photographs']} photographs"
        )
    axis.set_ylim(bottom=0)
    axis.set_title("Memory over many photographs")
    axis.set_xlabel("% of the photographs")
    axis.set_ylabel("resident, MB")
    axis.legend(frameon=False)


def _growth(axis: Any, kind: str, points: list[Record]) -> None:  # noqa: ANN401
    title, unit = _GROWTH[kind]
    n = [point["n"] for point in points]
    for name in points[0]:
        if name.endswith("seconds") or "seconds_" in name:
            label = name.replace("_seconds", "").replace("_", " ")
            axis.plot(n, [point[name] for point in points], "o-", label=label)
    axis.set_xlabel(unit)
    axis.set_ylabel("seconds")
    axis.set_ylim(0, 1.4 * axis.get_ylim()[1])  # room for the legend
    axis.set_title(f"Cost: {title[0].lower()}{title[1:]}")
    if "peak_megabytes" in points[0]:
        beside = axis.twinx()
        beside.plot(n, [point["peak_megabytes"] for point in points], "s--", color=_GREY)
        beside.set_ylabel("peak memory, MB (dashed)")
        beside.set_ylim(0, 1.4 * beside.get_ylim()[1])
    axis.legend(frameon=False, loc="upper left")
