"""A calibration from ratings and photographs to the regressor's files, step by step."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from dicom_node.calibration_files import CalibrationError, OutputFiles
from pipeline.calibration_card import RegressorOrigin, calibration_card, regressor_document
from pipeline.calibration_card_text import card_text
from pipeline.calibration_plot import draw_calibration
from pipeline.kept_measurements import (
    KeptMeasurements,
    MeasuredPhotograph,
    measure_photograph,
    measured_digest,
)
from pipeline.measuring import Measuring
from pipeline.measuring import load_measuring as compose
from pipeline.ratings import GROUPS, RatedPhotograph, RatingTable
from pipeline.regression import FittedRegressor, RatedFeatures, check_people, fit_regressor
from pipeline.regression_errors import age_band

if TYPE_CHECKING:
    from dicom_node.settings_sections import Scoring
    from pipeline.quality_thresholds import QualityThresholds

Steps = Callable[[int, int], None]


def load_measuring(scoring: Scoring, quality: QualityThresholds) -> Measuring:
    """Load what measures photographs as the node does; raises what `pipeline.measuring` does."""
    return compose(scoring.generator, scoring.profile, scoring.device, scoring.seed, quality=quality)


def require_enough_people(table: RatingTable) -> None:
    """Raise CalibrationError where there are too few people, were all their photographs usable."""
    try:
        check_people(photograph.person for photograph in table.photographs)
    except ValueError as error:
        raise CalibrationError(str(error)) from error


def measure_all(
    photographs: Sequence[RatedPhotograph],
    measuring: Measuring,
    kept: KeptMeasurements,
    begin: Callable[[], Steps],
) -> list[MeasuredPhotograph]:
    """Return a row for every photograph; those that `kept` has are not measured again.

    begin: called before a photograph, returns what is told about its steps. Raises CalibrationError where a
    file cannot be read or measuring fails; what is finished is kept.
    """
    rows = []
    for photograph in photographs:
        steps = begin()
        digest = _digest(photograph)
        row = kept.find(digest)
        if row is None:
            row = _measured(measuring, photograph, steps)
            kept.keep(digest, row)
        rows.append(row)
    return rows


def _digest(photograph: RatedPhotograph) -> str:
    try:
        return measured_digest(photograph.path, photograph.sha256)
    except OSError as error:
        raise CalibrationError(
            f"line {photograph.line}: the photograph's landmarks cannot be read ({error.strerror})"
        ) from error


def _measured(measuring: Measuring, photograph: RatedPhotograph, steps: Steps) -> MeasuredPhotograph:
    try:
        return measure_photograph(measuring, photograph.path, steps)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CalibrationError(f"line {photograph.line}: the photograph cannot be read ({reason})") from error
    except Exception as error:  # its text may quote what the file holds
        raise CalibrationError(
            f"line {photograph.line}: measuring the photograph failed with {type(error).__name__}"
        ) from error


@dataclass(frozen=True, slots=True)
class Calibration:
    """Ratings with what was measured, photographs without features left out."""

    table: RatingTable
    used: tuple[RatedPhotograph, ...]
    data: RatedFeatures
    unscorable: Mapping[str, int]

    @staticmethod
    def of(table: RatingTable, rows: Sequence[MeasuredPhotograph]) -> Calibration:
        """Put ratings and rows together, in the order of the table.

        Raises CalibrationError where nothing is left, rows have different features, or one is not finite.
        """
        pairs = [
            (photograph, row)
            for photograph, row in zip(table.photographs, rows, strict=True)
            if not row.reason
        ]
        if not pairs:
            raise CalibrationError("none of the photographs can be scored; the reasons are above")
        names = tuple(pairs[0][1].features)
        if any(row.features.keys() != set(names) for _, row in pairs):
            raise CalibrationError("the kept rows have different features; delete their folder and run again")
        for photograph, row in pairs:
            for name, value in row.features.items():
                if not math.isfinite(value):
                    raise CalibrationError(
                        f"line {photograph.line}: measuring the photograph gave {name!r} as {value}; "
                        "leave it out"
                    )
        return Calibration(
            table,
            tuple(photograph for photograph, _ in pairs),
            RatedFeatures(
                names=names,
                features=np.array([[row.features[name] for name in names] for _, row in pairs]),
                ratings=np.array([photograph.mean for photograph, _ in pairs]),
                people=tuple(photograph.person for photograph, _ in pairs),
            ),
            dict(sorted(Counter(row.reason for row in rows if row.reason).items())),
        )

    def described(self) -> dict[str, object]:
        """Return what a card says about the data."""
        found = [photograph.mean_absolute_deviation for photograph in self.used]
        deviations = [deviation for deviation in found if deviation is not None]
        return {
            "sha256": self.table.digest(),
            "photographs": len(self.used),
            "people": len(set(self.data.people)),
            "people_are_named": self.table.names_people,
            "raters": len({rater for photograph in self.used for rater in photograph.ratings}),
            "ratings": sum(len(photograph.ratings) for photograph in self.used),
            "mean_absolute_deviation_of_raters": round(float(np.mean(deviations)), 4) if deviations else None,
            "unscorable": dict(self.unscorable),
        }

    def groups(self) -> dict[str, list[str]]:
        """Return, for each column that any line fills in, the value of each used photograph."""
        columns = {name: [p.groups.get(name, "") for p in self.used] for name in GROUPS}
        columns["age"] = [age_band(age) for age in columns["age"]]
        return {name: values for name, values in columns.items() if any(values)}


def fit(calibration: Calibration, seed: int, trials: int, tried: Callable[[str], None]) -> FittedRegressor:
    """Fit the regressor; raises CalibrationError where there are too few people."""
    try:
        return fit_regressor(calibration.data, seed, trials, tried)
    except ValueError as error:
        raise CalibrationError(str(error)) from error


def write_files(
    files: OutputFiles,
    calibration: Calibration,
    fitted: FittedRegressor,
    origin: RegressorOrigin,
    setup: Mapping[str, object],
    seed: int,
) -> dict[str, object]:
    """Write the plot, the card in words and, last, the regressor; return the card. Raises OSError.

    setup: what the photographs were measured with, for the card.
    """
    card = calibration_card(
        calibration.data,
        fitted,
        calibration.described(),
        calibration.groups(),
        seed,
        datetime.now(UTC).date().isoformat(),
    ) | {"measured_with": dict(setup)}
    document = regressor_document(fitted, origin, card)
    draw_calibration(calibration.data, fitted, files.plot)
    files.text.write_text(card_text(document, files.plot.name), "utf-8")
    partial = files.regressor.with_suffix(".part")
    partial.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", "utf-8")
    partial.replace(files.regressor)
    return card
