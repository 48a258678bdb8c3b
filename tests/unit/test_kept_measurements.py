"""Measured photographs are found again, as long as nothing that their figures depend on has changed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pipeline.kept_measurements import KeptMeasurements, MeasuredPhotograph, measured_digest

SETUP = {"generator": "a" * 64, "profile": ["fast", {"steps": 8}], "seed": 0}
PHOTOGRAPH = "b" * 64
ROW = MeasuredPhotograph({"d_xperc": 0.123456789012345})


def test_a_row_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    KeptMeasurements(tmp_path / "rows", SETUP).keep(PHOTOGRAPH, ROW)
    again = KeptMeasurements(tmp_path / "rows", SETUP)
    assert again.find(PHOTOGRAPH) == ROW
    assert again.find("c" * 64) is None
    left_out = MeasuredPhotograph(reason="no_face", detail="No face.")
    again.keep("c" * 64, left_out)
    assert again.find("c" * 64) == left_out
    assert stat.S_IMODE((tmp_path / "rows").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "other",
    [SETUP | {"generator": "c" * 64}, SETUP | {"profile": ["fast", {"steps": 9}]}, SETUP | {"seed": 1}],
)
def test_another_setup_finds_nothing(tmp_path: Path, other: dict[str, object]) -> None:
    KeptMeasurements(tmp_path, SETUP).keep(PHOTOGRAPH, ROW)
    assert KeptMeasurements(tmp_path, other).find(PHOTOGRAPH) is None
    assert KeptMeasurements(tmp_path, dict(reversed(SETUP.items()))).find(PHOTOGRAPH) == ROW


def test_other_landmarks_beside_the_photograph_name_another_row(tmp_path: Path) -> None:
    path = tmp_path / "face.jpg"
    names = [measured_digest(path, PHOTOGRAPH)]
    for content in ("{}", "[]"):
        path.with_name("face.jpg.landmarks.json").write_text(content)
        names.append(measured_digest(path, PHOTOGRAPH))
    assert names[0] == PHOTOGRAPH
    assert len(set(names)) == 3


def test_the_file_is_named_after_neither_photograph_nor_setup(tmp_path: Path) -> None:
    KeptMeasurements(tmp_path, SETUP).keep(PHOTOGRAPH, ROW)
    (path,) = tmp_path.iterdir()
    assert PHOTOGRAPH not in path.name
    assert len(path.stem) == 64


def test_a_damaged_row_is_measured_again(tmp_path: Path) -> None:
    kept = KeptMeasurements(tmp_path, SETUP)
    kept.keep(PHOTOGRAPH, ROW)
    (path,) = tmp_path.iterdir()
    row = '{"features": %s, "reason": "", "detail": ""}'
    features = ("{}", "[]", "null", '{"d_xperc": NaN}', '{"d_xperc": null}', '{"d_xperc": "0.1"}')
    for damaged in ("", "{", "[]", "{}", *(row % one for one in features)):
        path.write_text(damaged)
        assert kept.find(PHOTOGRAPH) is None
