"""`facenorm rating-set`: raters get pictures that say nothing of their kind, and their sheets come back."""

from __future__ import annotations

import base64
import csv
import io
import re
import stat
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.ratings import read_ratings
from tests.command import facenorm
from tests.rated_photographs import photographs, without_a_face
from tests.tiny import TINY_GENERATOR

pytestmark = pytest.mark.real_weights


def rating_set(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return facenorm("rating-set", *arguments, env={"COLUMNS": "200"})


def said(finished: subprocess.CompletedProcess[str]) -> str:
    return " ".join(finished.stderr.split())


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photographs of two people, one without a face, and two random faces."""
    folder = tmp_path_factory.mktemp("set")
    names = [*photographs(folder / "photos", people=2, each=2)[:3], without_a_face(folder / "photos")]
    with (folder / "details.csv").open("w", encoding="utf-8") as file:
        file.write("photograph,person,diagnosis\n")
        file.writelines(f"{name},{name[:-6]},cleft\n" for name in names)
    finished = rating_set(
        "export", folder / "photos", folder / "set", "--details", folder / "details.csv", "--random", "2",
        "--shuffle-seed", "5", "--generator", TINY_GENERATOR,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert "line 5: left out. No frontal face was found." in said(finished)
    assert "no-face" not in finished.stderr
    return folder


def test_pictures_are_numbered_and_look_alike_from_outside(exported: Path) -> None:
    pictures = sorted((exported / "set" / "pictures").iterdir())
    assert [path.name for path in pictures] == [f"{n:03d}.png" for n in range(1, 9)]
    for path in pictures:
        with Image.open(path) as picture:
            assert (picture.size, picture.mode, picture.info) == ((1024, 1024), "RGB", {})
    assert sorted(path.name for path in (exported / "set").iterdir()) == [
        "pictures",
        "sheet.csv",
        "sheet.html",
    ]
    assert not (exported / "set.unfinished").exists()


def test_the_key_says_what_is_which_and_is_kept_apart(exported: Path) -> None:
    key = rows(exported / "set.key.csv")
    assert stat.S_IMODE((exported / "set.key.csv").stat().st_mode) == 0o600
    kinds = [row["kind"] for row in key]
    assert sorted(kinds) == ["normalized"] * 3 + ["random"] * 2 + ["raw"] * 3
    assert kinds != sorted(kinds)
    for row in key:
        assert row["person"] == (row["photograph"][:-6] or row["person"])
        assert row["diagnosis"] == ("cleft" if row["kind"] == "raw" else f"none ({row['kind']} face)")
        if row["kind"] == "raw":
            raw = _picture(exported, row["picture"])
            source = Image.open(exported / "photos" / row["photograph"]).resize((1024, 1024))
            # A generated face lies in the frame already, so what comes out is nearly what went in.
            assert np.abs(raw - np.asarray(source, dtype=float)).mean() < 30
    assert len({row["person"] for row in key}) == 4  # two people and two of nobody
    for path in (exported / "set").rglob("*.[ch]*"):
        told = re.search(r"photograph-|cleft|normalized|random|\braw\b", _without_pictures(path.read_text()))
        assert told is None


def _picture(exported: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(exported / "set" / "pictures" / name), dtype=float)


def _without_pictures(text: str) -> str:
    return re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)


class _Page(HTMLParser):
    """What a browser would find: pictures, radio buttons by name, and everything that loads."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.choices: dict[str, list[str]] = {}
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img":
            self.pictures.append(str(given["src"]))
        elif tag == "input" and given.get("type") == "radio":
            self.choices.setdefault(str(given["name"]), []).append(str(given["value"]))
        elif given.get("src") or given.get("href"):
            self.loads.append(tag)


def test_the_page_holds_every_picture_and_loads_nothing(exported: Path) -> None:
    text = (exported / "set" / "sheet.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.choices == {f"{n:03d}.png": list("1234567") for n in range(1, 9)}
    assert page.loads == []
    assert "http" not in _without_pictures(text).replace("http-equiv", "")
    assert "$" not in re.sub(r"\$\{", "", _without_pictures(text))
    for number, source in enumerate(page.pictures, start=1):
        shown = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))))
        whole = Image.fromarray(_picture(exported, f"{number:03d}.png").astype(np.uint8)).resize(shown.size)
        assert np.abs(np.asarray(shown, dtype=float) - np.asarray(whole)).mean() < 6


def _sheet(exported: Path, name: str, lines: list[tuple[str, str, str]]) -> Path:
    path = exported / name
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("picture", "rater", "rating"), *lines])
    return path


def test_filled_sheets_become_ratings_that_calibrate_reads(exported: Path) -> None:
    pictures = [row["picture"] for row in rows(exported / "set" / "sheet.csv")]
    assert len(pictures) == 8
    one = _sheet(
        exported, "one.csv", [(p, "" if n else "ann", str(1 + n % 7)) for n, p in enumerate(pictures)]
    )
    two = _sheet(exported, "two.csv", [(p, "ben", "" if n == 3 else "4.5") for n, p in enumerate(pictures)])
    output = exported / "ratings.csv"
    finished = rating_set("read", exported / "set.key.csv", one, two, "--output", output)
    assert finished.returncode == 0, finished.stderr
    assert "15 ratings of 8 pictures by 2 raters 1 cells were left empty" in said(finished)
    table = read_ratings(output, exported / "set" / "pictures")
    key = {row["picture"]: row for row in rows(exported / "set.key.csv")}
    for n, photograph in enumerate(table.photographs):
        expected = {"ann": float(1 + n % 7)} | ({} if n == 3 else {"ben": 4.5})
        assert dict(photograph.ratings) == expected
        assert photograph.person == key[photograph.name]["person"]
        assert photograph.groups["diagnosis"] == key[photograph.name]["diagnosis"]
    # A person's photograph and its normalized face are never on two sides of a test.
    people = {row["photograph"]: set() for row in key.values() if row["photograph"]}
    for photograph in table.photographs:
        if source := key[photograph.name]["photograph"]:
            people[source].add(photograph.person)
    assert all(len(who) == 1 for who in people.values())
    refused = rating_set("read", exported / "set.key.csv", one, "--output", output)
    assert refused.returncode == 2
    assert "say --overwrite" in said(refused)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([("001.png", "ann", "8")], "line 2: the rating is outside 1"),
        ([("001.png", "", "3")], "line 2: rater is empty"),
        ([("999.png", "ann", "3")], "line 2: there is no such picture in the key"),
        (
            [("001.png", "ann", "3"), ("001.png", "ann", "3")],
            "line 3: this rater has rated this picture before",
        ),
        ([("001.png", "ann", "")], "there is no rating in the sheets"),
    ],
)
def test_a_wrong_sheet_is_told_by_its_line(
    exported: Path, tmp_path: Path, lines: list[tuple[str, str, str]], told: str
) -> None:
    sheet = _sheet(exported, "wrong.csv", lines)
    finished = rating_set("read", exported / "set.key.csv", sheet, "--output", tmp_path / "ratings.csv")
    assert finished.returncode == 2
    assert told in said(finished)
    assert not (tmp_path / "ratings.csv").exists()


def test_a_set_is_never_written_over(exported: Path) -> None:
    before = (exported / "set.key.csv").read_bytes()
    finished = rating_set("export", exported / "photos", exported / "set", "--generator", TINY_GENERATOR)
    assert finished.returncode == 2
    assert "is there already" in said(finished)
    assert (exported / "set.key.csv").read_bytes() == before
