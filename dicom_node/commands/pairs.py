"""`facenorm pairs PAIRS.csv`: photographs before and after a treatment, scored by two methods."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from dicom_node.commands.scoring_options import Device, GeneratorName, ProfileName, RegressorFile, Seed
from dicom_node.logs import configure_logs
from dicom_node.settings import SettingsError, load_settings
from pipeline.csv_table import TableError, is_there, read_table, told
from pipeline.result import Provenance, Rejection
from reports.notices import RESEARCH_USE_NOTICE, regressor_nature

if TYPE_CHECKING:
    from dicom_node.settings_sections import Scoring
    from pipeline.paired_scores import PairScorer, PairScores
    from pipeline.quality_thresholds import QualityThresholds

_SOME_MISSING, _UNUSABLE = 1, 2
_COLUMNS = ("pre", "post")


class _UnusableError(Exception):
    """The pairs cannot be scored as asked; the text says why and holds no patient data."""


def pairs(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="PAIRS.csv",
            exists=True,
            dir_okay=False,
            readable=True,
            help="Columns pre and post: photographs, relative to this file's folder.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    profile: ProfileName = None,
    generator: GeneratorName = None,
    regressor: RegressorFile = None,
    device: Device = None,
    seed: Seed = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.")
    ] = None,
) -> None:
    """Score pairs of photographs by this method and by the anchor score, and compare what they detect.

    The detected difference of a pair is (post - pre) / pre in percent; a pair whose score has risen is called
    improved. Pairs are numbered as in the file. Exit status 0 when every pair was scored, 1 when some
    were not, 2 for wrong usage.
    """
    given = {
        "profile": profile,
        "generator": generator,
        "regressor": regressor,
        "device": device,
        "seed": seed,
    }
    try:
        settings = load_settings(config)
        configure_logs(settings)
        paths = read_pairs(table)
        chosen = settings.scoring.model_copy(update={k: v for k, v in given.items() if v is not None})
        scorer = _load(chosen, settings.quality.thresholds())
    except (SettingsError, TableError, _UnusableError) as error:
        typer.echo(f"facenorm pairs: {error}", err=True)
        raise typer.Exit(_UNUSABLE) from None
    errors = Console(stderr=True)
    scored = [_score(scorer, *pair) for pair in track(paths, "pairs", console=errors, transient=True)]
    _print(scored, scorer.provenance, as_json)
    if any(isinstance(one, str) for one in scored):
        raise typer.Exit(_SOME_MISSING)


def read_pairs(table: Path) -> list[tuple[Path, Path]]:
    """Read the table; raises TableError naming the column or the lines that are wrong."""
    _, rows = read_table(table, _COLUMNS)
    pairs = [tuple(table.parent / row.cells[name] for name in _COLUMNS) for row in rows]
    mistakes = [
        f"line {row.number}: a photograph is not in the folder"
        for row, pair in zip(rows, pairs, strict=True)
        if not all(map(is_there, pair))
    ]
    if mistakes or not pairs:
        raise TableError(told(table, mistakes or ["it lists no pair"]))
    return [(before, after) for before, after in pairs]


def _load(scoring: Scoring, quality: QualityThresholds) -> PairScorer:
    # Imported here, because torch takes seconds and wrong usage should be told at once.
    from pipeline.anchor_score import Anchors, AnchorScorer
    from pipeline.paired_scores import PairScorer
    from pipeline.scoring import build_scorer

    try:
        scorer = build_scorer(
            scoring.generator,
            scoring.profile,
            scoring.device,
            scoring.regressor,
            scoring.seed,
            quality=quality,
        )
        anchors = AnchorScorer(scorer.generator, scorer.metric, Anchors.of_card(scorer.generator.card))
    except Exception as error:  # weights missing or damaged, no such device; nothing of a patient yet
        raise _UnusableError(str(error) or type(error).__name__) from error
    return PairScorer(scorer, anchors)


def _score(scorer: PairScorer, before: Path, after: Path) -> PairScores | str:
    """Return the scores, or why there are none; trouble with one pair leaves the others alone."""
    try:
        found = scorer.score(before, after)
    except OSError as error:
        return f"A file cannot be read ({error.strerror or type(error).__name__})."
    return found.detail if isinstance(found, Rejection) else found


def _print(scored: list[PairScores | str], provenance: Provenance, as_json: bool) -> None:
    from pipeline.paired_scores import METHODS, summaries

    kept = [one for one in scored if not isinstance(one, str)]
    summary = summaries(kept) if kept else {}
    if as_json:
        rows = [
            {"pair": n, "reason": one}
            if isinstance(one, str)
            else {
                "pair": n,
                "reason": None,
                **{name: {**asdict(s), "difference": s.difference} for name, s in one.scores.items()},
            }
            for n, one in enumerate(scored, 1)
        ]
        found = {name: asdict(one) for name, one in summary.items()}
        document = {
            "pairs": rows,
            "summary": found,
            "provenance": provenance.as_dict(),
            "notice": RESEARCH_USE_NOTICE,
        }
        typer.echo(json.dumps(document, allow_nan=False))
        return
    table = Table("pair", *(f"{name}: pre, post, difference" for name in METHODS))
    for n, one in enumerate(scored, 1):
        if isinstance(one, str):
            table.add_row(str(n), Text(one))  # rich would take [x, y] for markup
        else:
            cells = (f"{s.before:.3f}  {s.after:.3f}  {s.difference:+.2f} %" for s in one.scores.values())
            table.add_row(str(n), *cells)
    said = (f"mean {one.mean_difference:+.2f} %, improved {one.improved:.0f} %" for one in summary.values())
    table.add_section()
    table.add_row(f"{len(kept)} scored", *said)
    console = Console()
    console.print(table)
    console.print(Text(regressor_nature(provenance)), Text(RESEARCH_USE_NOTICE), sep="\n")
