from __future__ import annotations

import pytest

from bench.growth import measure, rows
from bench.growth_of_archive import queue_seconds, report_seconds, study_seconds
from bench.own_process import in_own_process


def test_a_study_and_a_history_are_timed(tmp_path):
    study = study_seconds(tmp_path / "study", 2)
    history = report_seconds(tmp_path / "history", 3)
    assert set(study) == {"keep_seconds_per_photograph", "report_seconds"}
    assert set(history) == {"query_seconds", "report_seconds"}
    assert all(0 < seconds < 30 for seconds in (*study.values(), *history.values()))


def test_a_queue_is_timed_while_studies_wait(tmp_path):
    points = in_own_process(queue_seconds, tmp_path / "queue", (16, 2))
    assert [point["n"] for point in points] == [2, 16]
    assert all(0 < point[name] < 30 for point in points for name in ("sweep_seconds", "pick_up_seconds"))


@pytest.mark.real_weights
def test_growth_has_a_point_for_every_count():
    record = measure(sizes=(2.0, 1.0), studies=(1,), histories=(0, 2), queues=(2,))
    assert [point["n"] for point in record["size"]] == [1.0, 2.0]
    assert all(point["decode_seconds"] > 0 and point["peak_megabytes"] > 50 for point in record["size"])
    table = dict(rows(record))
    assert list(table) == [
        "megapixels: 1",
        "megapixels: 2",
        "photographs in a study: 1",
        "earlier encounters: 0",
        "earlier encounters: 2",
        "waiting studies: 2",
    ]
    assert table["megapixels: 1"].endswith("MB")
    assert table["waiting studies: 2"].endswith("ms")
