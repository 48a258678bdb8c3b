"""The rows that `bench.measure_cases` leaves, read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """A measured case: the fields of `bench.validation_cases.Case`, and what was found.

    severity: of what was drawn. changed: mean LPIPS that the drawing makes, by region. features: averaged
    over the candidates. candidates: the same of each. regions: each region's share of the deviation.
    """

    person: str
    split: str
    view: str
    kind: str
    level: float
    severity: float
    changed: Mapping[str, float]
    features: Mapping[str, float]
    candidates: tuple[Mapping[str, float], ...]
    regions: Mapping[str, float]


def write_row(path: Path, row: Mapping[str, object]) -> None:
    """Write a row; it is there whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(row), "utf-8")
    part.rename(path)


def read_rows(folder: Path) -> list[Row]:
    """Return all rows with features, in the order of their names; faces that were not found have none."""
    rows = []
    for path in sorted(folder.glob("*.json")):
        values = json.loads(path.read_text("utf-8"))
        if "features" in values:
            values["candidates"] = tuple(values["candidates"])
            rows.append(Row(**{name: values[name] for name in Row.__slots__}))
    if not rows:
        raise SystemExit(f"{folder} holds no measured case yet; see `python -m bench.measure_cases --help`")
    return rows
