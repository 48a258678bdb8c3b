from datetime import timedelta
from random import Random

import pytest

from dicom_node.outbox import Backoff
from dicom_node.settings_sections import Delivery


class _Highest(Random):
    def uniform(self, a: float, b: float) -> float:
        return b


class _Lowest(Random):
    def uniform(self, a: float, b: float) -> float:
        return a


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(first_seconds=5, longest_seconds=60, attempts=9)
    delays = [backoff.delay(attempt, _Highest()).total_seconds() for attempt in (1, 2, 3, 4, 5, 6)]
    assert delays == [5, 10, 20, 40, 60, 60]


def test_a_very_late_attempt_does_not_overflow() -> None:
    assert Backoff(first_seconds=5, longest_seconds=60, attempts=9).delay(5000, _Highest()) == timedelta(
        seconds=60
    )


@pytest.mark.parametrize("attempt", [1, 4, 30])
def test_jitter_spreads_between_half_and_all_of_the_delay(attempt: int) -> None:
    backoff, random = Backoff(first_seconds=8, longest_seconds=100, attempts=9), Random(7)
    whole = backoff.delay(attempt, _Highest()).total_seconds()
    delays = [backoff.delay(attempt, random).total_seconds() for _ in range(300)]
    assert whole / 2 <= min(delays) < 0.6 * whole
    assert 0.9 * whole < max(delays) <= whole


def test_the_same_seed_gives_the_same_delays() -> None:
    backoff = Backoff(first_seconds=5, longest_seconds=60, attempts=9)
    assert [backoff.delay(3, Random(1)) for _ in range(3)] == [backoff.delay(3, Random(1))] * 3


def test_the_default_settings_bridge_a_weekend() -> None:
    delivery = Delivery()
    backoff = Backoff(
        first_seconds=delivery.first_retry_seconds,
        longest_seconds=delivery.max_retry_seconds,
        attempts=delivery.max_attempts,
    )
    waited = sum(backoff.delay(n, _Lowest()).total_seconds() for n in range(1, backoff.attempts))
    assert waited > 60 * 3600
