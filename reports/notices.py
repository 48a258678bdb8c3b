"""What every result says in plain words about its own worth."""

from __future__ import annotations

from typing import Final

from pipeline.encounter_score import Change, EncounterScore
from pipeline.result import FITTED_OTHERWISE, Provenance

RESEARCH_USE_NOTICE: Final = "For research use only. Not a medical device."


def regressor_nature(provenance: Provenance) -> str:
    """Return in plain words where the regressor's notion of a score comes from, and what it does not fit."""
    nature = nature_in_words(provenance.regressor_is_synthetic)
    otherwise = str(provenance.settings.get(FITTED_OTHERWISE, ""))
    if not otherwise:
        return nature
    named = ", ".join(otherwise.split())
    return f"{nature} It was fitted under other settings of the normalization ({named}): calibrate anew."


def nature_in_words(synthetic: bool) -> str:
    """Return the same for a regressor that is, or is not, synthetic."""
    if synthetic:
        return (
            "Synthetic regressor: the score was learned from anomalies drawn by software on generated faces, "
            "not from ratings by people."
        )
    return "Site-calibrated regressor: the score was learned from ratings by people at this site."


def regressor_in_brief(provenance: Provenance) -> str:
    """Return the same in a few words, for a caption."""
    if provenance.regressor_is_synthetic:
        return "Score learned from drawn anomalies, not from people's ratings."
    return "Score learned from this site's ratings."


def in_points(value: float) -> float:
    """Return it as reports state it; never -0.0, for a change of -0.00 says more than there is."""
    return round(value, 2) + 0.0


def change_in_words(encounter: EncounterScore, change: Change | None) -> str:
    """Return what became of the score, and whether that is more than noise; no date and no identifier."""
    if encounter.date is None:  # there may be earlier ones
        return "Not compared: no usable study date."
    if change is None:
        return "No earlier comparable score."
    verdict = "exceeds noise" if change.exceeds_noise else "within noise"
    return f"Change {in_points(change.change):+.2f}: {verdict} (+/- {change.smallest:.2f})."


def visit_in_words(encounter: EncounterScore, change: Change | None) -> str:
    """Return the same beside the score of one photograph; of several, changes are between their means."""
    words = change_in_words(encounter, change)
    if encounter.photographs == 1:
        return words
    return f"Visit's mean {encounter.value:.2f} of {encounter.photographs} photographs. {words}"
