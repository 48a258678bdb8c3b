"""What `facenorm calibrate` finds out before it measures."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.cli import app


def test_too_few_people_are_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}.jpg" for number in range(7)]
    for name in names:
        (tmp_path / name).write_text(name)
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("photograph,rater,rating\n" + "".join(f"{name},x,3\n" for name in names))
    monkeypatch.setattr("dicom_node.calibration_run.load_measuring", lambda *_: pytest.fail("measured"))
    output = tmp_path / "site.json"
    done = CliRunner().invoke(app, ["calibrate", str(ratings), str(tmp_path), "--output", str(output)])
    assert done.exit_code == 1
    assert "photographs of 7 people can be used; at least 8 are needed" in done.stderr
