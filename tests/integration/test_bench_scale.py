"""The benches of docs/scaling.md at tiny counts; and that the statements of every day stay flat."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.archive_work import INDEXED, LISTING
from bench.large_archive import measure as measure_archive
from bench.large_archive import plans_text
from bench.large_archive import rows as archive_rows
from bench.queue_throughput import measure as measure_queue
from bench.queue_throughput import rows as queue_rows
from tests.postgresql import PostgresPeer


@pytest.mark.torture
def test_a_large_archive_has_seconds_pages_and_plans_of_every_work(postgresql: PostgresPeer) -> None:
    record = measure_archive(postgresql.database(), photographs=4000, patients=400, steps=2, times=2)
    assert [(point["photographs"], point["patients"]) for point in record["points"]] == [
        (400, 40),
        (4000, 400),
    ]
    first, last = record["points"]
    assert all(value > 0 for value in last["milliseconds"].values())
    assert record["plans"].keys() == last["pages"].keys() == first["pages"].keys()
    assert all(record["plans"].values())
    # These do not look at what is done already, however much it is.
    for name in (*INDEXED, LISTING):
        assert last["pages"][name] <= first["pages"][name] + 6
        assert record["as_before"][name]["pages"] > last["pages"][name]
    assert len(archive_rows(record)) == len(last["pages"]) + 1
    assert "Index" in plans_text(record["plans"])


@pytest.mark.torture
def test_throughput_has_a_point_for_every_number_of_workers(postgresql: PostgresPeer, tmp_path: Path) -> None:
    record = measure_queue(postgresql.database(), tmp_path, workers=(1,), seconds=0.05, each=2)
    (point,) = record["points"]
    assert point["workers"] == point["ratio_to_one"] == 1
    assert point["photographs_per_second"] == pytest.approx(1 / record["seconds_per_photograph"], rel=0.01)
    assert 0 < point["photographs_per_second"] < 20
    assert len(queue_rows(record)) == 1
