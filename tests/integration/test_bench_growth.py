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
    points = in_own_process(queue_seconds, tmp_path / "queue", (6, 1))
    assert [point["n"] for point in points] == [1, 6]
    assert all(0 < point["sweep_seconds"] <= point["pick_up_seconds"] < 30 for point in points)


@pytest.mark.real_weights
def test_growth_has_a_point_for_every_count():
    record = measure(sizes=(2.0, 1.0), studies=(1,), histories=(0, 2), queues=(2,))
    assert [point["n"] for point in record["size"]] == [1.0, 2.0]
    assert all(point["decode_seconds"] > 0 and point["peak_megabytes"] > 50 for point in record["size"])
    assert [figure for figure, _ in rows(record)] == [
        "growth, size: 1",
        "growth, size: 2",
        "growth, study: 1",
        "growth, history: 0",
        "growth, history: 2",
        "growth, queue: 2",
    ]
