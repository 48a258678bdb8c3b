from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.memory import flatness, measure, rows
from bench.own_process import in_own_process, peak_megabytes, reset_peak, resident_megabytes

TINY = Path(__file__).parents[1] / "data" / "tiny.safetensors"


def test_a_growing_course_is_told_from_a_flat_one():
    flat, growing = flatness([100.0] * 50), flatness([100.0 + n for n in range(50)])
    assert flat["early_megabytes"] == flat["late_megabytes"] == 100.0
    assert growing["late_megabytes"] - growing["early_megabytes"] == pytest.approx(30)
    assert len(flatness([1.0] * 1000)["megabytes"]) == 50


def peak_of(megabytes: int) -> tuple[float, float, float]:
    np.ones(megabytes * 125_000).sum()
    first = peak_megabytes()
    reset_peak()
    return first, peak_megabytes(), resident_megabytes()


@pytest.mark.torture
def test_a_peak_is_seen_after_it_has_gone_and_forgotten_when_reset():
    first, second, resident = in_own_process(peak_of, 300)
    assert first > 300
    assert second < first - 200
    assert abs(second - resident) < 50


# Most of a minute of two cores.
@pytest.mark.torture
@pytest.mark.real_weights
def test_a_few_photographs_on_the_test_generator():
    record = measure(tiny_count=5, real_count=1, generator=str(TINY), tiny=TINY)
    peaks = record["peak_megabytes"]
    assert {"decode", "face", "align", "normalize", "features", "report"} < set(peaks)
    assert all(50 < peak < 20_000 for peak in peaks.values())
    assert record["flat_tiny"]["photographs"] == 5
    assert "memory over 5 photographs, tiny generator" in dict(rows(record))
