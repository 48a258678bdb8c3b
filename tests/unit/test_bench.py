from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
from PIL import Image

import bench.__main__ as bench
from bench.picture import draw

CASES = {
    name: {"objects_per_second": rate, "megabytes_per_second": 6 * rate, "p50_ms": 40.0, "p95_ms": 90.0}
    for name, rate in (("facenorm", 20.0), ("Orthanc", 21.0))
}
RECORDS = {
    "scoring_speed": {"plain_seconds_per_photograph": 975.0, "seconds_per_photograph": 9.7, "ratio": 100.5},
    "receiving": {"by_associations": {"1": CASES, "8": CASES}},
    "memory": {
        "peak_megabytes": {"decode": 500.0, "normalize": 1900.0},
        "flat_tiny": {"photographs": 4, "every": 2, "megabytes": [700.0, 701.0]},
    },
    "growth": {
        "size": [{"n": n, "decode_seconds": 0.1 * n, "peak_megabytes": 400.0 + n} for n in (1.0, 50.0)],
        "queue": [{"n": n, "sweep_seconds": 0.01 * n} for n in (10, 400)],
    },
}


def test_the_picture_has_a_panel_for_all_that_was_measured(tmp_path):
    draw(RECORDS, tmp_path / "all.png")
    draw({"growth": RECORDS["growth"]}, tmp_path / "growth.png")
    with Image.open(tmp_path / "all.png") as everything, Image.open(tmp_path / "growth.png") as growth:
        # Seven panels in three rows of three, and two in one row.
        assert everything.width > 1.4 * growth.width
        assert everything.height > 2.9 * growth.height
    with pytest.raises(ValueError, match="anything to draw"):
        draw({}, tmp_path / "none.png")


def test_one_part_alone_keeps_the_figures_of_the_others(tmp_path, monkeypatch, capsys):
    ran = []

    def part(name):
        return SimpleNamespace(
            measure=lambda: ran.append(name) or dict(RECORDS[name]), rows=lambda record: [(name, "figure")]
        )

    monkeypatch.setattr(bench, "PARTS", {name: part(name) for name in ("growth", "memory")})
    files = ["--output", str(tmp_path / "b.json"), "--picture", str(tmp_path / "b.png")]
    for arguments in ([], ["--only", "memory"]):
        monkeypatch.setattr(sys, "argv", ["bench", *arguments, *files])
        bench.main()
    assert ran == ["growth", "memory", "memory"]
    written = json.loads((tmp_path / "b.json").read_text())
    assert set(written) == {"growth", "memory"}
    assert written["growth"]["size"] == RECORDS["growth"]["size"]
    assert {"date", "bench_seconds"} < set(written["memory"])
    assert "==> growth (1 of 2)" in capsys.readouterr().out
    assert (tmp_path / "b.png").stat().st_size > 1000


@pytest.mark.parametrize("module", [bench, *bench.PARTS.values()], ids=lambda module: module.__name__)
def test_help_teaches(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "--help"])
    with pytest.raises(SystemExit) as left:
        module.main()
    assert left.value.code == 0
    assert "python -m bench" in capsys.readouterr().out
