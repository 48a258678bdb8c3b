"""Which photographs go into a rating set, and where the set goes; quick to import."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.csv_table import read_table, told
from pipeline.ratings import GROUPS, PERSON, RatingsError, photograph_path
from pipeline.supplied_landmarks import LANDMARKS_SUFFIX

_NO_PHOTOGRAPHS = (".csv", LANDMARKS_SUFFIX)


@dataclass(frozen=True, slots=True)
class SetPhotograph:
    """A photograph of the set: where the user finds it, its name, who is shown, and the known groups."""

    place: str
    name: str
    path: Path
    person: str
    groups: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SetFolders:
    """Where a set goes: the raters' folder, the key beside it, and what is finished before all is."""

    folder: Path

    @property
    def pictures(self) -> Path:
        """The pictures, for raters and for `facenorm calibrate`."""
        return self.folder / "pictures"

    @property
    def key(self) -> Path:
        """What is which; not for raters."""
        return self.folder.with_name(f"{self.folder.name}.key.csv")

    @property
    def unfinished(self) -> Path:
        """Pictures of a run that has not ended."""
        return self.folder.with_name(f"{self.folder.name}.unfinished")

    def taken(self) -> Path | None:
        """Return what is there already and must not be written over; an interrupted run's key may be."""
        if self.folder.exists():
            return self.folder
        return self.key if self.key.exists() and not self.unfinished.exists() else None


def set_photographs(photo_dir: Path, details: Path | None) -> list[SetPhotograph]:
    """Return the photographs that `details` (CSV) lists, or without it every file of the folder.

    But for CSV files and landmarks placed by hand. Columns of `details`: photograph; where known person,
    diagnosis, sex, age, ancestry. Raises TableError.
    """
    if details is None:
        try:
            files = sorted(path for path in photo_dir.iterdir() if path.is_file() and path.name[0] != ".")
        except OSError as error:
            raise RatingsError(f"{photo_dir} cannot be read ({error.strerror})") from error
        files = [path for path in files if not path.name.lower().endswith(_NO_PHOTOGRAPHS)]
        if not files:
            raise RatingsError(f"{photo_dir} holds no photograph")
        photographs = [
            SetPhotograph(f"file {number} by name", path.name, path, path.name, {})
            for number, path in enumerate(files, start=1)
        ]
        if twice := _same_picture_twice(photographs):
            raise RatingsError(told(photo_dir.resolve(), twice))
        return photographs
    columns, rows = read_table(details, ("photograph",))
    found, mistakes = [], []
    seen: dict[str, int] = {}
    for row in rows:
        name = row.cells["photograph"]
        person = row.cells[PERSON] if PERSON in columns else name
        groups = {column: row.cells[column] for column in GROUPS if column in columns}
        try:
            if name in seen:
                raise ValueError(f"the photograph is in line {seen[name]} already; leave out one of the two")
            if not person:
                raise ValueError("person is empty; fill it in in every line, or leave the column out")
            place, path = f"line {row.number}", photograph_path(photo_dir, name)
            found.append(SetPhotograph(place, name, path, person, groups))
        except ValueError as error:
            mistakes.append(f"line {row.number}: {error}")
        seen.setdefault(name, row.number)
    mistakes += _same_picture_twice(found)
    if mistakes or not found:
        raise RatingsError(told(details, mistakes or ["it lists no photograph"]))
    return found


def _same_picture_twice(photographs: Sequence[SetPhotograph]) -> list[str]:
    """Return what is to be told of pictures under two names: raters would see them twice."""
    seen: dict[str, str] = {}
    mistakes = []
    for photograph in photographs:
        try:
            digest = hashlib.sha256(photograph.path.read_bytes()).hexdigest()
        except OSError:  # told when its turn comes
            continue
        if digest in seen:
            mistakes.append(
                f"{photograph.place}: the photograph is the same as that of {seen[digest]}, under another "
                "name; leave out one of the two"
            )
        seen.setdefault(digest, photograph.place)
    return mistakes
