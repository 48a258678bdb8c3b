"""The rows that `bench.measure_cases` leaves, read back, and what all rows of a folder were measured with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.validation_cases import Case

_SETUP = "measured_with.json"


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

    @property
    def name(self) -> str:
        """What its files are called: the case's name."""
        return Case(self.person, self.split, self.view, self.kind, self.level).name


def write_row(path: Path, row: Mapping[str, object]) -> None:
    """Write a row; it is there whole or not at all."""
    part = path.with_suffix(f".{os.getpid()}.part")  # others may claim the folder at this moment
    part.write_text(json.dumps(row), "utf-8")
    part.rename(path)


def claim_folder(folder: Path, setup: Mapping[str, object]) -> None:
    """Make the folder for rows of this setup, written down there. Raises SystemExit for one of another."""
    folder.mkdir(parents=True, exist_ok=True)
    if not row_paths(folder) and not (folder / _SETUP).exists():
        write_row(folder / _SETUP, setup)
        return
    kept = setup_of(folder)
    differing = sorted(key for key in kept.keys() | setup.keys() if kept.get(key) != setup.get(key))
    if differing:
        raise SystemExit(
            f"{folder} holds rows measured with another {', '.join(differing)}; name another folder"
        )


def setup_of(folder: Path) -> dict[str, object]:
    """Return what the rows were measured with. Raises SystemExit where nobody knows."""
    try:
        kept: dict[str, object] = json.loads((folder / _SETUP).read_text("utf-8"))
    except FileNotFoundError:
        raise SystemExit(f"{folder}: without {_SETUP} nobody knows how its rows were measured") from None
    return kept


def row_paths(folder: Path) -> list[Path]:
    """Return the files of all rows, in the order of their names."""
    return sorted(path for path in folder.glob("*.json") if path.name != _SETUP)


def read_rows(folder: Path) -> list[Row]:
    """Return all rows with features, in the order of their names; faces that were not found have none."""
    rows = []
    for path in row_paths(folder):
        values = json.loads(path.read_text("utf-8"))
        if "features" in values:
            values["candidates"] = tuple(values["candidates"])
            rows.append(Row(**{name: values[name] for name in Row.__slots__}))
    if not rows:
        raise SystemExit(f"{folder} holds no measured case yet; see `python -m bench.measure_cases --help`")
    return rows
