"""Rows of the validation: one setup a folder, and what the shipped regressor was fitted with."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.train_regressor import repeatability
from bench.validation_rows import claim_folder, read_rows, setup_of, write_row

SETUP = {"generator": "a" * 64, "profile": ["fast", {"full_steps": 11}], "features": ["n_peak"]}
ROW: dict[str, object] = {
    "person": "1", "split": "tuning", "view": "neutral", "kind": "", "level": 0.0, "severity": 0.0,
    "changed": {}, "features": {"n_peak": 0.1}, "candidates": [], "regions": {},
}  # fmt: skip


def test_a_folder_takes_rows_of_one_setup(tmp_path: Path) -> None:
    claim_folder(tmp_path / "rows", SETUP)
    write_row(tmp_path / "rows" / "tuning-1.json", ROW)
    claim_folder(tmp_path / "rows", json.loads(json.dumps(SETUP)))
    with pytest.raises(SystemExit, match="another profile, seed; name another folder"):
        claim_folder(tmp_path / "rows", SETUP | {"profile": ["fast", {"full_steps": 10}], "seed": 1})
    assert [row.person for row in read_rows(tmp_path / "rows")] == ["1"]
    assert setup_of(tmp_path / "rows") == SETUP


def test_two_processes_may_claim_a_folder_at_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, own = Path.rename, os.getpid()

    def second_comes_between(part: Path, target: Path) -> Path:
        if os.getpid() == own:
            with monkeypatch.context() as second:
                second.setattr(os, "getpid", lambda: own + 1)
                claim_folder(tmp_path, SETUP)
        return rename(part, target)

    monkeypatch.setattr(Path, "rename", second_comes_between)
    claim_folder(tmp_path, SETUP)
    assert setup_of(tmp_path) == SETUP
    assert [path.name for path in tmp_path.iterdir()] == ["measured_with.json"]


def test_rows_of_which_nobody_knows_the_setup_are_not_added_to(tmp_path: Path) -> None:
    write_row(tmp_path / "tuning-1.json", ROW)
    with pytest.raises(SystemExit, match=r"without measured_with\.json nobody knows"):
        claim_folder(tmp_path, SETUP)


def test_another_photograph_counts_for_more_than_the_same_one_through_another_camera() -> None:
    scores = [
        *(("a", view, 5 + 0.1 * n) for n, view in enumerate(("neutral", "recompressed", "turned"))),
        ("a", "smiling", 6.0),
        ("b", "neutral", 4.0),
        ("b", "smiling", 5.0),
        ("c", "neutral", 4.0),
    ]
    parts = repeatability(scores)
    assert parts["camera"] == {"sd": pytest.approx(0.1), "people": 1}
    assert parts["another photograph"] == {"sd": pytest.approx(0.5**0.5, abs=1e-3), "people": 2}
    assert repeatability([("c", "neutral", 4.0)]) == {}
