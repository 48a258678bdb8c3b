import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.perceptual_severity import FULL_DISTANCE, amplitude_for, perceptual_severity, rating_of


def test_severity_is_the_root_of_the_share_of_the_full_distance() -> None:
    assert perceptual_severity(0) == 0
    assert perceptual_severity(FULL_DISTANCE / 4) == pytest.approx(0.5)
    assert perceptual_severity(FULL_DISTANCE) == pytest.approx(1)


def test_severity_ends_at_one_and_a_rounding_error_below_zero_is_none() -> None:
    assert perceptual_severity(3 * FULL_DISTANCE) == 1
    assert perceptual_severity(-1e-9) == 0


def test_ratings_run_from_seven_down_to_one() -> None:
    assert [rating_of(s) for s in (0, 0.5, 1)] == [7, 4, 1]


@given(st.floats(0.05, 1), st.floats(0.5, 3), st.floats(1, 40))
def test_amplitude_gives_the_severity_that_was_asked_for(
    severity: float, power: float, greatest: float
) -> None:
    def distance_at(amplitude: float) -> float:
        return greatest * FULL_DISTANCE * amplitude**power

    amplitude = amplitude_for(severity, distance_at)
    nearby = [perceptual_severity(distance_at(max(0.0, amplitude + step))) for step in (-0.01, 0.01)]
    assert nearby[0] <= severity <= nearby[1] or severity == pytest.approx(nearby[0], abs=0.02)


def test_full_amplitude_is_taken_where_even_that_is_milder() -> None:
    assert amplitude_for(1.0, lambda amplitude: 0.5 * FULL_DISTANCE * amplitude) == 1.0


def test_no_severity_needs_no_drawing() -> None:
    def never(amplitude: float) -> float:
        raise AssertionError(amplitude)

    assert amplitude_for(0.0, never) == 0.0
