"""The calculation of docs/scaling.md, against its examples."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.hospital_size import Hospital, import_days, rows

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text("utf-8")
DEFAULTS = Hospital(photographs=1, seconds=1)


def _table(heading: str) -> list[list[str]]:
    lines = PAGE[PAGE.index(heading) :].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    end = next((number for number, line in enumerate(lines[2:]) if not line.startswith("|")), len(cells))
    return cells[:end]


EXAMPLES = _table("| example |")
IMPORTS = _table("| import of |")


def _number(text: str) -> float:
    return float(re.sub(r"[^0-9.]", "", text))


@pytest.mark.parametrize("row", EXAMPLES, ids=[row[0] for row in EXAMPLES])
def test_an_example_follows_from_the_formula(row: list[str]) -> None:
    _, photographs, busiest, on_cores, on_gpus, receiving, disk, database = row
    cores = Hospital(photographs=_number(photographs), seconds=17)
    gpus = Hospital(photographs=_number(photographs), seconds=0.4)
    assert f"{cores.busiest_hour:g}" == busiest
    assert (f"{cores.work:.2f}: {cores.workers}", f"{gpus.work:.2f}: {gpus.workers}") == (on_cores, on_gpus)
    assert f"{100 * cores.receiving_share:.2f} %" == receiving
    assert f"{cores.terabytes_a_year:.2f}" == disk
    assert f"{cores.database_gigabytes_a_year:.2f}" == database


@pytest.mark.parametrize("row", IMPORTS, ids=[row[0] for row in IMPORTS])
def test_so_does_an_import(row: list[str]) -> None:
    photographs, *days = row
    expected = [
        import_days(_number(photographs), workers, seconds=seconds, gap=DEFAULTS.gap)
        for seconds, workers in ((17, 1), (17, 8), (0.4, 1), (0.4, 4))
    ]
    assert [f"{one:.1f}" for one in expected] == days


def test_the_page_names_the_values_that_the_formula_takes_by_itself() -> None:
    table = PAGE[: PAGE.index("| example |")]
    named = dict(re.findall(r"\| `([a-z]+)` \| ([0-9.]+) \|", table))
    assert named == {
        name: f"{getattr(DEFAULTS, name):g}"
        for name in ("gap", "hours", "peak", "busy", "days", "megabytes", "kilobytes", "received")
    }


def test_a_worker_more_than_the_work_fills() -> None:
    hospital = Hospital(photographs=800, seconds=3600, gap=0, hours=8, peak=1, busy=1)
    assert (hospital.busiest_hour, hospital.work, hospital.workers) == (100, 100, 100)
    assert Hospital(photographs=801, seconds=3600, gap=0, hours=8, peak=1, busy=1).workers == 101
    assert Hospital(photographs=0, seconds=1).workers == 1
    assert dict(rows(hospital))["workers"] == "100"
