"""What a calibration says about its data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from dicom_node.calibration_files import CalibrationError
from dicom_node.calibration_run import Calibration
from pipeline.kept_measurements import MeasuredPhotograph
from pipeline.ratings import RatedPhotograph, RatingTable

MEASURED = MeasuredPhotograph({"a": 1.0})
NO_FACE = MeasuredPhotograph(reason="no_face", detail="No face.")


def described(
    ratings: list[Mapping[str, float]], rows: list[MeasuredPhotograph] | None = None
) -> dict[str, object]:
    photographs = tuple(
        RatedPhotograph(f"{n}.jpg", Path(f"{n}.jpg"), n, f"p{n}", of, {}, f"{n:064}")
        for n, of in enumerate(ratings)
    )
    return Calibration.of(RatingTable(photographs, True), rows or [MEASURED] * len(ratings)).described()


def test_raters_deviate_where_a_photograph_has_several() -> None:
    """Cells are missing: what one rater alone has seen says nothing of how far raters lie apart."""
    both = {"x": 3.0, "y": 5.0}
    key = "mean_absolute_deviation_of_raters"
    assert described([both, both])[key] == pytest.approx(1)
    assert described([both, {"x": 3.0}, {"y": 4.0}])[key] == pytest.approx(1)
    assert described([{"x": 3.0}, {"x": 4.0}])[key] is None
    assert described([{"x": 3.0, "y": 3.0}])[key] == 0


def test_a_rater_whose_photographs_are_all_left_out_is_not_counted() -> None:
    found = described([{"x": 3.0}, {"x": 2.0, "y": 5.0}], [MEASURED, NO_FACE])
    assert (found["photographs"], found["ratings"], found["raters"]) == (1, 1, 1)


def test_a_figure_that_is_none_is_told_by_the_line_of_its_photograph() -> None:
    with pytest.raises(CalibrationError, match="line 1: measuring the photograph gave 'a' as nan"):
        described([{"x": 3.0}, {"x": 4.0}], [MEASURED, MeasuredPhotograph({"a": math.nan})])
