"""What `facenorm rating-set export` says of a set whose people nobody names."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.cli import app

SAID = "each photograph counts as a person of its own"


@pytest.mark.parametrize(
    ("details", "told"), [(None, True), ("photograph", True), ("photograph,person", False)]
)
def test_photographs_that_count_as_people_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, details: str | None, told: bool
) -> None:
    """Its key names a person for each, so that `calibrate` cannot tell any more."""
    monkeypatch.setattr("dicom_node.calibration_run.load_measuring", lambda *_: None)
    monkeypatch.setattr("dicom_node.rating_set_export.export_set", lambda *_: [])
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (photographs / name).write_text(name)
    arguments = ["rating-set", "export", str(photographs), str(tmp_path / "set")]
    if details is not None:
        list_ = tmp_path / "list.csv"
        person = ",p" if "person" in details else ""
        list_.write_text(f"{details}\na.jpg{person}\nb.jpg{person}\n")
        arguments += ["--details", str(list_)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert (SAID in done.stderr) == told
