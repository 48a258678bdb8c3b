from __future__ import annotations

import pytest

from bench.growth import measure, rows
from bench.growth_of_archive import queue_seconds
from bench.own_process import in_own_process


@pytest.mark.torture
def test_a_queue_is_timed_while_studies_wait(tmp_path):
    points = in_own_process(queue_seconds, tmp_path / "queue", (16, 2))
    assert [point["n"] for point in points] == [2, 16]
    assert all(0 < point[name] < 30 for point in points for name in ("sweep_seconds", "pick_up_seconds"))


# A minute of two cores.
@pytest.mark.torture
@pytest.mark.real_weights
def test_growth_has_a_point_for_every_count():
    record = measure(sizes=(2.0, 1.0), studies=(1,), histories=(2,), queues=(16, 2))
    assert [point["n"] for point in record["size"]] == [1.0, 2.0]
    assert all(point["decode_seconds"] > 0 and point["peak_megabytes"] > 50 for point in record["size"])
    for kind, count in (("study", 1), ("history", 1), ("queue", 2)):
        assert len(record[kind]) == count
        assert all(0 < value < 30 for point in record[kind] for name, value in point.items() if name != "n")
    assert [point["n"] for point in record["queue"]] == [2, 16]
    table = dict(rows(record))
    assert list(table) == [
        "megapixels: 1",
        "megapixels: 2",
        "photographs in a study: 1",
        "earlier encounters: 2",
        "waiting studies: 2",
        "waiting studies: 16",
    ]
    assert table["megapixels: 1"].endswith("MB")
    assert table["waiting studies: 2"].endswith("ms")
