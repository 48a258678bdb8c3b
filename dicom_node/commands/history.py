"""`facenorm history PATIENT_ID`: a patient's scores over time."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.orm import Session

from dicom_node.commands.node_database import node_database
from dicom_node.settings import SettingsError, load_settings
from pipeline.encounter_score import EncounterScore
from storage.encounter_scores import encounter_scores, newest_setup
from storage.history import HistoryEntry, patient_history
from storage.patients import AmbiguousPatientError, UnknownPatientError, find_patient


def history(
    patient_id: Annotated[str, typer.Argument(metavar="PATIENT_ID", help="The identifier in the PACS.")],
    issuer: Annotated[
        str | None, typer.Option(help="Issuer of the identifier; needed where several use it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw the scores over time; print nothing.", dir_okay=False),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The node's TOML file.", dir_okay=False)
    ] = None,
) -> None:
    """Print a patient's photographs and scores, oldest encounter first.

    Only scores of one setup (generator, regressor, settings, seed, version) may be compared.
    """
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    if as_json + as_csv + (plot is not None) > 1:
        errors.print("Choose one of --json, --csv and --plot.")
        raise typer.Exit(2)
    try:
        settings = load_settings(config)
    except SettingsError as error:
        errors.print(str(error), markup=False)
        raise typer.Exit(2) from None
    try:
        with node_database(settings) as sessions, sessions() as session:
            entries = patient_history(session, patient_id, issuer)
            scores = _newest_scores(session, patient_id, issuer) if plot else []
    except UnknownPatientError:
        errors.print("No photograph of a patient with this identifier has been received.")
        raise typer.Exit(1) from None
    except AmbiguousPatientError:
        errors.print("Several issuers use this identifier; name one with --issuer ('' for none).")
        raise typer.Exit(1) from None
    if plot is not None:
        _draw(scores, plot, errors)
    elif as_csv:
        _print_csv(entries)
    elif as_json:
        typer.echo(json.dumps([_plain(entry) for entry in entries], indent=2))
    else:
        Console().print(_table(entries))


def _plain(entry: HistoryEntry) -> dict[str, object]:
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    return values | {"features": dict(entry.features)}


def _print_csv(entries: Sequence[HistoryEntry]) -> None:
    """Print a row per entry; a feature has a column of its own, empty where an entry lacks it."""
    features = sorted({name for entry in entries for name in entry.features})
    columns = [field.name for field in fields(HistoryEntry) if field.name != "features"]
    writer = csv.DictWriter(sys.stdout, [*columns, *features], lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        writer.writerow({name: getattr(entry, name) for name in columns} | dict(entry.features))


def _newest_scores(session: Session, patient_id: str, issuer: str | None) -> list[tuple[EncounterScore, str]]:
    """Return the encounters' scores, each with the setup that counts as the current one."""
    patient = find_patient(session, patient_id, issuer)
    setup = newest_setup(session, patient.id)
    return [(one, setup) for one in encounter_scores(session, patient.id, setup)] if setup else []


def _draw(scores: Sequence[tuple[EncounterScore, str]], path: Path, errors: Console) -> None:
    from PIL import Image

    from reports.trend_picture import draw_trend

    dated = [one for one, _ in scores if one.date is not None]
    if not dated:
        errors.print("No score of a study with a date: there is nothing to draw.")
        raise typer.Exit(1)
    try:
        Image.fromarray(draw_trend(dated, scores[0][1])).save(path, "PNG")
    except OSError as error:
        errors.print(f"{path}: {error.strerror or 'cannot be written'}", markup=False)
        raise typer.Exit(1) from None


def _table(entries: Sequence[HistoryEntry]) -> Table:
    table = Table(title="Scores: 1 most deformed, 7 most normal", title_justify="left", show_lines=True)
    for heading in ("study date", "accession", "photograph", "status"):
        table.add_column(heading, overflow="fold")
    table.add_column("score", justify="right", overflow="fold")
    table.add_column("uncertainty", justify="right", overflow="fold")
    for heading in ("generator", "regressor, setup", "features"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        cells = (
            entry.study_date,
            entry.accession_number,
            entry.sop_instance_uid,
            entry.status + (f"\n{entry.reason}" if entry.reason else ""),
            _number(entry.score),
            _number(entry.uncertainty),
            entry.generator or "",
            "" if entry.setup_digest is None else f"{entry.regressor}\n{entry.setup_digest[:8]}",
            "\n".join(f"{name} {value:.3f}" for name, value in entry.features.items()),
        )
        # As Text: what a sender or a site wrote in square brackets is no markup.
        table.add_row(*map(Text, cells))
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
