"""What every result says in plain words about its own worth."""

from __future__ import annotations

from typing import Final

from pipeline.result import Provenance

RESEARCH_USE_NOTICE: Final = "For research use only. Not a medical device."


def regressor_nature(provenance: Provenance) -> str:
    """Return in plain words where the regressor's notion of a score comes from."""
    if provenance.regressor_is_synthetic:
        return (
            "Synthetic regressor: the score was learned from anomalies drawn by software on generated faces, "
            "not from ratings by people."
        )
    return "Site-calibrated regressor: the score was learned from ratings by people at this site."
