"""The file of ratings: what it means, and what every mistake in it is told as."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from dicom_node.rating_set_files import set_photographs
from pipeline.csv_table import TableError
from pipeline.ratings import RatingTable, read_ratings

SECRET = "Jane Doe TEST"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "sub/c.jpg", f"{SECRET}.jpg"):
        (photos / name).write_bytes(name.encode())
    return photos


def read(folder: Path, text: str, encoding: str = "utf-8") -> RatingTable:
    file = folder.parent / "ratings.csv"
    file.write_bytes(text.encode(encoding))
    return read_ratings(file, folder)


def test_mean_and_mean_absolute_deviation_of_raters(folder: Path) -> None:
    points = [2, 3.5, 6, 7]
    lines = "".join(f"a.jpg,r{n},{rating}\n" for n, rating in enumerate(points))
    (photograph,) = read(folder, "photograph,rater,rating\n" + lines).photographs
    mean = statistics.fmean(points)
    assert photograph.mean == pytest.approx(mean)
    assert photograph.mean_absolute_deviation == pytest.approx(
        statistics.fmean(abs(p - mean) for p in points)
    )
    (alone,) = read(folder, "photograph,rater,rating\nb.jpg,x,3\n").photographs
    assert alone.mean == 3
    assert alone.mean_absolute_deviation is None


def test_spreadsheets_of_other_countries_are_understood(folder: Path) -> None:
    text = "Photograph;Rater;Rating;Person;Age\r\na.jpg;x;3,5;p1;0,5\r\n\r\nsub/c.jpg;x;4;p1;0,5\r\n;;;;\r\n"
    table = read(folder, text, "utf-8-sig")
    assert [p.mean for p in table.photographs] == [3.5, 4]
    assert [p.person for p in table.photographs] == ["p1", "p1"]
    assert [p.line for p in table.photographs] == [2, 4]
    assert table.names_people
    assert dict(table.photographs[0].groups) == {"age": "0,5"}


def test_empty_columns_that_a_spreadsheet_leaves_at_the_end_are_no_columns(folder: Path) -> None:
    text = "photograph;rater;rating;;\r\na.jpg;x;3,5;;\r\nb.jpg;x;4;;\r\n"
    assert [p.mean for p in read(folder, text).photographs] == [3.5, 4]
    with pytest.raises(TableError, match="line 2: 5 cells where the heading has 3"):
        read(folder, "photograph;rater;rating;;\r\na.jpg;x;3,5;;note\r\n")


def test_without_people_each_photograph_is_a_person(folder: Path) -> None:
    table = read(folder, "photograph,rater,rating\na.jpg,x,1\nb.jpg,x,7\n")
    assert [p.person for p in table.photographs] == ["a.jpg", "b.jpg"]
    assert not table.names_people


def test_a_simulated_rater_marks_the_whole_table(folder: Path) -> None:
    assert not read(folder, "photograph,rater,rating\na.jpg,x,1\n").simulated
    assert read(folder, "photograph,rater,rating\na.jpg,x,1\nb.jpg,Simulated-2,1\n").simulated


def test_the_digest_knows_contents_and_ratings_not_their_order(folder: Path) -> None:
    head = "photograph,rater,rating,sex\n"
    first = read(folder, head + "a.jpg,x,1,f\nb.jpg,x,2,m\n").digest()
    assert read(folder, head + "b.jpg,x,2,m\na.jpg,x,1,f\n").digest() == first
    others = {
        read(folder, head + text).digest()
        for text in ("a.jpg,x,1,f\nb.jpg,x,3,m\n", "a.jpg,x,1,f\nb.jpg,y,2,m\n", "a.jpg,x,1,f\nb.jpg,x,2,f\n")
    }
    (folder / "a.jpg").write_bytes(b"another")
    others.add(read(folder, head + "a.jpg,x,1,f\nb.jpg,x,2,m\n").digest())
    assert len({first, *others}) == 5


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("a.jpg,x,0.9", "line 2: the rating is outside 1"),
        ("a.jpg,x,7.5", "line 2: the rating is outside 1"),
        ("a.jpg,x,nan", "line 2: the rating is outside 1"),
        ("a.jpg,x,good", "line 2: the rating is no number"),
        ("a.jpg,x,", "line 2: rating is empty"),
        ("a.jpg,,3", "line 2: rater is empty"),
        ("a.jpg,x,3\nabsent.jpg,x,3", "line 3: there is no such photograph"),
        (f'"{SECRET}' + "\n" * 300 + '",x,3', "there is no such photograph"),
        ("../ratings.csv,x,3", "line 2: the photograph is not named by its path inside"),
        ("/etc/hostname,x,3", "line 2: the photograph is not named by its path inside"),
        ("a.jpg,x,3\nb.jpg,x,3\na.jpg,x,4", "line 4: the same rater has rated the same photograph in line 2"),
        (f"{SECRET}.jpg,x,nine", "line 2: the rating is no number"),
        ("a.jpg,x", "line 2: 2 cells where the heading has 3"),
        ("", "there is no rating in it"),
    ],
)
def test_a_mistake_is_told_by_its_line_and_without_what_the_cell_says(
    folder: Path, lines: str, told: str
) -> None:
    with pytest.raises(TableError) as caught:
        read(folder, f"photograph,rater,rating\n{lines}\n")
    assert told in str(caught.value)
    assert "ratings.csv" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_all_mistakes_are_told_together_but_not_without_end(folder: Path) -> None:
    with pytest.raises(TableError) as caught:
        read(folder, "photograph,rater,rating\n" + "".join(f"a.jpg,r{n},9\n" for n in range(25)))
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert lines[-1].strip() == "and 5 more"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("photograph,rating\na.jpg,3\n", "no column 'rater'"),
        ("photograph,rater,rating,rating\n", "names a column twice"),
        ("photograph,rater,rating,person\na.jpg,x,3,\n", "line 2: person is empty; fill it in in every line"),
        ("photograph,rater,rating,person\na.jpg,x,3,p\na.jpg,y,3,q\n", "line 3: person differs from line 2"),
        ("photograph,rater,rating,sex\na.jpg,x,3,f\na.jpg,y,3,\n", "line 3: sex differs from line 2"),
        ("photograph,rater,rating,age\na.jpg,x,3,old\n", "line 2: the age is no number"),
        ("photograph,rater,rating,age\na.jpg,x,3,nan\n", "line 2: the age is no number"),
    ],
)
def test_columns_that_do_not_fit(folder: Path, text: str, told: str) -> None:
    with pytest.raises(TableError) as caught:
        read(folder, text)
    assert told in str(caught.value)


def test_a_quotation_mark_that_is_never_closed_is_told(folder: Path) -> None:
    lines = "a.jpg,x,3\n" * 20_000  # more than a cell may hold
    with pytest.raises(TableError, match=r"ratings\.csv, line \d+: a cell is too long or broken"):
        read(folder, f'photograph,rater,rating\n"a.jpg,x,3\n{lines}')


def test_one_picture_under_two_names_is_refused(folder: Path) -> None:
    (folder / "b.jpg").write_bytes((folder / "a.jpg").read_bytes())
    with pytest.raises(TableError, match="line 3: the photograph is the same as the one in line 2"):
        read(folder, "photograph,rater,rating\na.jpg,x,3\nb.jpg,x,3\n")


def test_a_file_that_is_no_text_is_refused(folder: Path) -> None:
    with pytest.raises(TableError, match="not UTF-8"):
        read(folder, "photograph,rater,rating\nä.jpg,x,3\n", "latin-1")
    with pytest.raises(TableError, match=r"absent\.csv cannot be read"):
        read_ratings(folder / "absent.csv", folder)


def test_a_set_without_a_list_takes_every_file_but_tables_and_landmarks(folder: Path) -> None:
    for name in ("people.CSV", "a.jpg.landmarks.json", ".hidden"):
        (folder / name).touch()
    assert [one.name for one in set_photographs(folder, None)] == [f"{SECRET}.jpg", "a.jpg", "b.jpg"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"gone cannot be read \(No such file or directory\)"):
        set_photographs(tmp_path / "gone", None)
