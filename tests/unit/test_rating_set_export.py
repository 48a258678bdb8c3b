"""An export that is interrupted goes on where it stopped; what raters get appears as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dicom_node.rating_set_export import export_set
from dicom_node.rating_set_files import SetFolders, set_photographs
from pipeline.csv_table import TableError
from pipeline.measurement import FaceMeasurer
from pipeline.measuring import Measuring
from tests.rated_photographs import photographs
from tests.real_weights import face_finder, real_metric
from tests.tiny import tiny_generator

pytestmark = pytest.mark.real_weights


def test_finished_faces_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photographs(tmp_path / "photos", people=4)
    measure, measured = FaceMeasurer.measure, []

    def counting(*arguments: Any, **named: Any) -> Any:
        measured.append(1)
        return measure(*arguments, **named)

    monkeypatch.setattr(FaceMeasurer, "measure", counting)
    folders = SetFolders(tmp_path / "set")
    chosen = set_photographs(tmp_path / "photos", None)
    begun = 0

    def begin() -> Any:
        nonlocal begun
        begun += 1
        if begun == 3:
            raise KeyboardInterrupt
        return lambda step, steps: None

    measuring = Measuring(tiny_generator(), real_metric(), face_finder(), "fast", 0)
    with pytest.raises(KeyboardInterrupt):
        export_set(folders, chosen, 1, measuring, 0, begin)
    assert len(measured) == 2
    assert not folders.folder.exists()
    assert folders.taken() is None
    finished = {path: path.stat().st_mtime_ns for path in folders.unfinished.iterdir()}
    assert len(finished) == 4
    assert not any("photograph" in path.name for path in finished)
    assert export_set(folders, chosen, 1, measuring, 0, begin) == []
    assert len(measured) == 4
    assert len(list(folders.pictures.iterdir())) == 9
    assert not folders.unfinished.exists()
    assert folders.taken() == folders.folder


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ("photograph\nabsent.png\n", "line 2: there is no such photograph"),
        ("photograph\na.png\na.png\n", "line 3: the photograph is in line 2 already"),
        ("photograph,person\na.png,\n", "line 2: person is empty"),
        ("photograph\n", "it lists no photograph"),
        ("file\na.png\n", "no column 'photograph'"),
    ],
)
def test_mistakes_in_the_list_are_told_by_line(tmp_path: Path, details: str, told: str) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "list.csv").write_text(details)
    with pytest.raises(TableError) as caught:
        set_photographs(tmp_path, tmp_path / "list.csv")
    assert told in str(caught.value)


def test_one_picture_under_two_names_is_told_before_it_is_rated(tmp_path: Path) -> None:
    """`calibrate` refuses it, and by then raters have seen it twice."""
    for name, content in (("a.png", b"one"), ("b.png", b"another"), ("copy of a.png", b"one")):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(
        TableError, match="file 3 by name: the photograph is the same as that of file 1 by name"
    ):
        set_photographs(tmp_path, None)
    (tmp_path / "list.csv").write_text("photograph\na.png\nb.png\ncopy of a.png\n")
    with pytest.raises(TableError, match="line 4: the photograph is the same as that of line 2") as caught:
        set_photographs(tmp_path, tmp_path / "list.csv")
    assert "copy" not in str(caught.value)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="holds no photograph"):
        set_photographs(tmp_path, None)
