"""Filled rating sheets and the key of their set, put together into the ratings that `calibrate` reads."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.csv_table import TableRow, read_table, told
from pipeline.ratings import GROUPS, PERSON, REQUIRED, RatingsError, checked_rating


@dataclass(frozen=True, slots=True)
class FilledSheets:
    """ratings: (picture, rater) -> points. empty: cells that were left empty. key: picture -> its line."""

    ratings: Mapping[tuple[str, str], float]
    empty: int
    key: Mapping[str, TableRow]


def read_sheets(key_file: Path, sheets: Sequence[Path]) -> FilledSheets:
    """Read filled sheets (columns picture, rater, rating) of the set that the key belongs to.

    An empty rater is the one named last above it in the same sheet. Raises TableError naming lines.
    """
    _, rows = read_table(key_file, ("picture", "kind", PERSON))
    key = {row.cells["picture"]: row for row in rows}
    ratings: dict[tuple[str, str], float] = {}
    empty = 0
    for sheet in sheets:
        mistakes: list[str] = []
        empty += _read_sheet(sheet, key, ratings, mistakes)
        if mistakes:
            raise RatingsError(told(sheet, mistakes))
    if not ratings:
        raise RatingsError("there is no rating in the sheets; fill in the column rating")
    return FilledSheets(ratings, empty, key)


def _read_sheet(
    sheet: Path, key: Mapping[str, TableRow], ratings: dict[tuple[str, str], float], mistakes: list[str]
) -> int:
    """Add the sheet's ratings and mistakes; return how many cells were left empty."""
    columns, rows = read_table(sheet, ("picture", "rater", "rating"))
    rater, empty = "", 0
    for row in rows:
        rater = row.cells["rater"] or rater
        picture = row.cells["picture"]
        if not row.cells["rating"]:
            empty += 1
            continue
        try:
            if picture not in key:
                raise ValueError("there is no such picture in the key; is it the key of this set?")
            if not rater:
                raise ValueError("rater is empty; fill it in, in the first line at least")
            if (picture, rater) in ratings:
                raise ValueError("this rater has rated this picture before; was a sheet given twice?")
            ratings[picture, rater] = checked_rating(row, columns)
        except ValueError as error:
            mistakes.append(f"line {row.number}: {error}")
    return empty


def write_ratings(filled: FilledSheets, output: Path) -> None:
    """Write RATINGS.csv for `facenorm calibrate`: a line per rating, in the order of the pictures.

    Raises OSError.
    """
    partial = output.with_name(f"{output.name}.part")
    with partial.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow((*REQUIRED, PERSON, *GROUPS))
        for (picture, rater), rating in sorted(filled.ratings.items()):
            cells = filled.key[picture].cells
            table.writerow((picture, rater, f"{rating:g}", *(cells.get(c, "") for c in (PERSON, *GROUPS))))
    partial.replace(output)
