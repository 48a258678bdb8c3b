"""Where the files of a calibration go, and the error that ends one; quick to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class CalibrationError(Exception):
    """The calibration cannot go on; the text says why and what to do, and holds no patient data."""


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """The files of a regressor: itself, its card in words, the calibration plot, and the kept rows."""

    regressor: Path

    @property
    def text(self) -> Path:
        """The card for people."""
        return self.regressor.with_suffix(".md")

    @property
    def plot(self) -> Path:
        """The calibration plot."""
        return self.regressor.with_suffix(".png")

    @property
    def rows(self) -> Path:
        """The folder of measured photographs."""
        return self.regressor.with_suffix(".measured")
