"""What `facenorm score` prints: JSON for programs, a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.result import Features, Provenance, Rejection, Score, plain
from reports.notices import RESEARCH_USE_NOTICE, regressor_nature

_NAMED_REGIONS = 3


@dataclass(frozen=True, slots=True)
class ScoredFile:
    """One photograph, as its path was given, with what came of it.

    pictures: kind -> path written. trouble: why the pictures that were wanted could not be written.
    """

    photograph: Path
    result: Score | Rejection
    pictures: Mapping[str, str] = field(default_factory=dict)
    trouble: str | None = None


def as_json(scored: ScoredFile, provenance: Provenance) -> dict[str, object]:
    """Return the object that `score --json` prints for one photograph.

    The first nine keys are a contract. A rejected photograph has the same keys, with null for every number.
    """
    result = scored.result
    accepted = result if isinstance(result, Score) else None
    details = plain(result)
    return {
        "photo": str(scored.photograph),
        "status": "scored" if accepted else "rejected",
        "reason": None if isinstance(result, Score) else result.detail,
        "score": accepted.value if accepted else None,
        "uncertainty": accepted.uncertainty if accepted else None,
        "features": accepted.features.as_dict() if accepted else dict.fromkeys(Features.names()),
        "generator": provenance.generator,
        "regressor": provenance.regressor,
        "seconds": dict(result.seconds),
        "reason_code": None if isinstance(result, Score) else result.reason.value,
        "interval": list(accepted.interval) if accepted else None,
        "local_features": details.get("local_features"),
        "further_features": details.get("further_features"),
        "region_shares": details.get("region_shares"),
        "nearest_average": details.get("nearest_average"),
        "warnings": details.get("warnings"),
        "outline": details.get("outline"),
        "rows": result.rows,
        "columns": result.columns,
        "pictures": dict(scored.pictures),
        "provenance": provenance.as_dict(),
        "notice": RESEARCH_USE_NOTICE,
    }


def as_table(scored: Sequence[ScoredFile], provenance: Provenance) -> Group:
    """Return a table of all photographs, and below it what the scores rest on."""
    table = Table(title="Scores: 1 most deformed, 7 most normal", title_justify="left", show_lines=True)
    table.add_column("photograph", overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("features", overflow="fold")
    table.add_column("where (% of the deviation per area)", overflow="fold")
    table.add_column("seconds", justify="right")
    for one in scored:
        table.add_row(*_cells(one))
    setup = (
        f"Generator {provenance.generator}, profile {provenance.profile}, seed {provenance.seed}; "
        f"regressor {provenance.regressor}."
    )
    return Group(table, Text(setup), Text(regressor_nature(provenance)), Text(RESEARCH_USE_NOTICE))


def _cells(scored: ScoredFile) -> tuple[Text, ...]:
    result = scored.result
    # Text, since rich would read brackets in a file's name as markup.
    name, seconds = Text(str(scored.photograph)), Text(f"{sum(result.seconds.values()):.1f}")
    if isinstance(result, Rejection):
        return name, Text("rejected", "red"), Text(result.detail), Text(""), seconds
    features = ", ".join(f"{key} {value:.3f}" for key, value in result.features.as_dict().items())
    score = Text(f"{result.value:.2f} ± {result.uncertainty:.2f}", "bold")
    told = Text(features)
    for warning in result.warnings:
        told.append(f"\nWarning: {warning.detail}", "yellow")
    return name, score, told, Text(_where(result.region_shares)), seconds


def _where(shares: Mapping[str, float]) -> str:
    """Return the regions that deviate most, at most `_NAMED_REGIONS`; left and right are the patient's."""
    named = sorted((item for item in shares.items() if item[1] > 0), key=lambda item: -item[1])
    if shares and not named:
        return "nowhere more than usual"
    return ", ".join(
        f"{region.replace('_', ' ')} {100 * share:.0f}" for region, share in named[:_NAMED_REGIONS]
    )
