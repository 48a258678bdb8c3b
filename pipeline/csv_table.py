"""CSV files that people write: any usual separator, a heading, every mistake told by its line.

Errors never quote a cell: it may name a patient.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class TableError(ValueError):
    """The file cannot be used; the message has one line per mistake and says what to do."""


def told(file: Path, mistakes: Sequence[str], shown: int = 20) -> str:
    """Return one text about the mistakes in a file, the first `shown` of them."""
    more = [f"and {len(mistakes) - shown} more"] if len(mistakes) > shown else []
    return f"{file.name} cannot be used:\n" + "\n".join(f"  {m}" for m in [*mistakes[:shown], *more])


def is_there(path: Path) -> bool:
    """Whether there is a file of a name that a cell holds, which may be none that a file can have."""
    try:
        return path.is_file()
    except OSError:  # too long, when a quotation mark was never closed; its text would quote the cell
        return False


@dataclass(frozen=True, slots=True)
class TableRow:
    """A line of a CSV file: its number, and column -> text without blanks around it."""

    number: int
    cells: Mapping[str, str]

    def figure(self, column: str, decimal_comma: bool) -> float:
        """Return the number in a column; raises ValueError where there is none."""
        text = self.cells[column]
        return float(text.replace(",", ".") if decimal_comma else text)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that a CSV file has, in lower case, and whether numbers may have a decimal comma."""

    names: tuple[str, ...]
    decimal_comma: bool

    def __contains__(self, name: str) -> bool:
        return name in self.names


def read_table(file: Path, required: Sequence[str]) -> tuple[Columns, list[TableRow]]:
    """Read a CSV file with a heading; empty lines are left out.

    Raises TableError for a file that cannot be read, has no such columns, or has a line of another length.
    """
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise TableError(f"{file.name} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise TableError(f"{file.name} is not UTF-8 text; save it as CSV UTF-8") from None
    heading = text.partition("\n")[0]
    separator = max(",;\t", key=heading.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    try:
        return _table(file, reader, separator, required)
    except csv.Error:
        raise TableError(
            f"{file.name}, line {reader.line_num}: a cell is too long or broken; look for a quotation mark "
            "that is never closed"
        ) from None


def _table(
    file: Path, reader: Iterator[list[str]], separator: str, required: Sequence[str]
) -> tuple[Columns, list[TableRow]]:
    heading = [name.strip().casefold() for name in next(reader, [])]
    while heading and not heading[-1]:  # a spreadsheet's columns that were once touched
        heading.pop()
    names = tuple(heading)
    missing = [name for name in required if name not in names]
    if missing:
        raise TableError(
            f"{file.name} has no column {missing[0]!r}; its first line must name the columns "
            f"{', '.join(required)}"
        )
    if len(set(names)) < len(names):
        raise TableError(f"{file.name} names a column twice; give every column a name of its own")
    return Columns(names, separator != ","), list(_rows(reader, names, file))


def _rows(reader: Iterator[list[str]], names: Sequence[str], file: Path) -> Iterator[TableRow]:
    for cells in reader:
        number = int(getattr(reader, "line_num", 0))
        if not any(cell.strip() for cell in cells):
            continue
        further = any(cell.strip() for cell in cells[len(names) :])
        if further or len(cells) < len(names):
            raise TableError(
                f"{file.name}, line {number}: {len(cells)} cells where the heading has {len(names)}; "
                "put text that holds the separator into double quotes"
            )
        yield TableRow(number, dict(zip(names, (cell.strip() for cell in cells), strict=False)))
