"""A site's ratings: the CSV file that raters' judgements come in, checked line by line.

Columns: photograph (a file inside the folder), rater, rating (1 most deformed to 7 most normal); where known
also person (who is shown), diagnosis, sex, age, ancestry. One line is one judgement. Errors name lines and
columns, never what a cell holds: file names may name patients.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from models.regressor import HIGHEST, LOWEST
from pipeline.csv_table import Columns, TableError, TableRow, is_there, read_table, told

REQUIRED = ("photograph", "rater", "rating")
GROUPS = ("diagnosis", "sex", "age", "ancestry")
"""Columns by which errors are told apart."""
PERSON = "person"
SIMULATED = "simulated"
"""A rater whose name begins so is a program; what is learned from one is marked synthetic."""


class RatingsError(TableError):
    """The ratings cannot be used; the message has one line per mistake and says what to do."""


@dataclass(frozen=True, slots=True)
class RatedPhotograph:
    """One photograph with all its ratings.

    name: as in the file. path: where it is. line: of its first rating. person: who is shown; the photograph's
    own name where the file has no such column. ratings: rater -> points. groups: column -> value, "" for
    unknown. sha256: over the photograph's bytes.
    """

    name: str
    path: Path
    line: int
    person: str
    ratings: Mapping[str, float]
    groups: Mapping[str, str]
    sha256: str

    @property
    def mean(self) -> float:
        """Mean of the raters, in points."""
        return math.fsum(self.ratings.values()) / len(self.ratings)

    @property
    def mean_absolute_deviation(self) -> float | None:
        """Mean over raters of |rating - mean|, in points; None for a single rater."""
        if len(self.ratings) < 2:
            return None
        return math.fsum(abs(rating - self.mean) for rating in self.ratings.values()) / len(self.ratings)


@dataclass(frozen=True, slots=True)
class RatingTable:
    """All photographs with their ratings, in the order of the file.

    names_people: whether the file says who is shown. simulated: whether any rater was a program.
    """

    photographs: tuple[RatedPhotograph, ...]
    names_people: bool

    @property
    def raters(self) -> tuple[str, ...]:
        """Everyone who rated, in alphabetical order."""
        return tuple(sorted({rater for photograph in self.photographs for rater in photograph.ratings}))

    @property
    def simulated(self) -> bool:
        """Whether any rater is a program."""
        return any(rater.casefold().startswith(SIMULATED) for rater in self.raters)

    def digest(self) -> str:
        """Return a sha256 over photographs' contents, people, groups and ratings, whatever their order."""
        rows = sorted(
            json.dumps([p.sha256, p.person, dict(p.groups), dict(p.ratings)], sort_keys=True)
            for p in self.photographs
        )
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    name: str
    rater: str
    rating: float
    person: str
    groups: Mapping[str, str]


def read_ratings(file: Path, folder: Path) -> RatingTable:
    """Read the ratings in `file` for the photographs in `folder`.

    The separator may be a comma, semicolon or tab; with the latter two a decimal comma is understood. Raises
    TableError where the file is no such table, RatingsError for all that is wrong in its lines, together.
    """
    columns, rows = read_table(file, REQUIRED)
    mistakes: list[str] = []
    lines = [line for row in rows if (line := _line(row, columns, mistakes)) is not None]
    photographs = _photographs(lines, folder, mistakes)
    _same_picture_twice(photographs, mistakes)
    if not (photographs or mistakes):
        mistakes.append("there is no rating in it; write one line per photograph and rater")
    if mistakes:
        raise RatingsError(told(file, mistakes))
    return RatingTable(tuple(photographs), PERSON in columns)


def checked_rating(row: TableRow, columns: Columns) -> float:
    """Return the rating of a line; raises ValueError, its text without the line, for one outside 1 to 7."""
    try:
        rating = row.figure("rating", columns.decimal_comma)
    except ValueError:
        raise ValueError("the rating is no number; write a number from 1 to 7") from None
    if not LOWEST <= rating <= HIGHEST:
        raise ValueError("the rating is outside 1 (most deformed) to 7 (most normal)")
    return rating


def _line(row: TableRow, columns: Columns, mistakes: list[str]) -> _Line | None:
    empty = [name for name in REQUIRED if not row.cells[name]]
    if PERSON in columns and not row.cells[PERSON]:
        empty.append(PERSON)
    if empty:
        also = " in every line, or leave the column out" if empty == [PERSON] else ""
        mistakes.append(f"line {row.number}: {empty[0]} is empty; fill it in{also}")
        return None
    try:
        rating = checked_rating(row, columns)
    except ValueError as error:
        mistakes.append(f"line {row.number}: {error}")
        return None
    groups = {name: row.cells[name] for name in GROUPS if name in columns}
    if groups.get("age") and not _is_age(groups["age"].replace(",", ".")):
        mistakes.append(f"line {row.number}: the age is no number of years; write for example 34 or 0.5")
        return None
    name = row.cells["photograph"]
    person = row.cells[PERSON] if PERSON in columns else name
    return _Line(row.number, name, row.cells["rater"], rating, person, groups)


def _is_age(text: str) -> bool:
    try:
        return 0 <= float(text) <= 130
    except ValueError:
        return False


def _photographs(lines: Sequence[_Line], folder: Path, mistakes: list[str]) -> list[RatedPhotograph]:
    together: dict[str, list[_Line]] = {}
    for line in lines:
        together.setdefault(line.name, []).append(line)
    found = [_photograph(same, folder, mistakes) for same in together.values()]
    return [photograph for photograph in found if photograph is not None]


def _photograph(lines: Sequence[_Line], folder: Path, mistakes: list[str]) -> RatedPhotograph | None:
    """Put the lines of one photograph together, noting every contradiction between them."""
    first = lines[0]
    ratings: dict[str, float] = {}
    judged: dict[str, int] = {}
    for line in lines:
        if line.rater in judged:
            mistakes.append(
                f"line {line.number}: the same rater has rated the same photograph in line "
                f"{judged[line.rater]}; keep one of the two"
            )
        judged[line.rater], ratings[line.rater] = line.number, line.rating
        for column in (PERSON, *GROUPS):
            if _cell(line, column) != _cell(first, column):
                mistakes.append(
                    f"line {line.number}: {column} differs from line {first.number}, the same photograph's; "
                    "make them agree"
                )
    try:
        path = photograph_path(folder, first.name)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except ValueError as error:
        mistakes.append(f"line {first.number}: {error}")
        return None
    except OSError as error:
        mistakes.append(f"line {first.number}: the photograph cannot be read ({error.strerror})")
        return None
    return RatedPhotograph(first.name, path, first.number, first.person, ratings, first.groups, digest)


def _cell(line: _Line, column: str) -> str:
    return line.person if column == PERSON else line.groups.get(column, "")


def photograph_path(folder: Path, name: str) -> Path:
    """Return the file `name` in `folder`; raises ValueError where it is not there, or not inside."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise ValueError("the photograph is not named by its path inside the folder; leave out / and ..")
    path = folder / relative
    if not is_there(path):
        raise ValueError(
            "there is no such photograph in the folder; correct the name, upper and lower case too"
        )
    return path


def _same_picture_twice(photographs: Sequence[RatedPhotograph], mistakes: list[str]) -> None:
    seen: dict[str, int] = {}
    for photograph in photographs:
        if photograph.sha256 in seen:
            mistakes.append(
                f"line {photograph.line}: the photograph is the same as the one in line "
                f"{seen[photograph.sha256]}, under another name; give both lines one name"
            )
        seen.setdefault(photograph.sha256, photograph.line)
