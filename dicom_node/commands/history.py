"""`facenorm history PATIENT_ID`: a patient's scores over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dicom_node.commands.node_database import node_database
from dicom_node.settings import SettingsError, load_settings
from storage.history import AmbiguousPatientError, HistoryEntry, UnknownPatientError, patient_history


def history(
    patient_id: Annotated[str, typer.Argument(metavar="PATIENT_ID", help="The identifier in the PACS.")],
    issuer: Annotated[
        str | None, typer.Option(help="Issuer of the identifier; needed where several use it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The node's TOML file.", dir_okay=False)
    ] = None,
) -> None:
    """Print a patient's photographs and scores, oldest encounter first."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        settings = load_settings(config)
    except SettingsError as error:
        errors.print(str(error), markup=False)
        raise typer.Exit(2) from None
    try:
        with node_database(settings) as sessions, sessions() as session:
            entries = patient_history(session, patient_id, issuer)
    except UnknownPatientError:
        errors.print("No photograph of a patient with this identifier has been received.")
        raise typer.Exit(1) from None
    except AmbiguousPatientError:
        errors.print("Several issuers use this identifier; name one with --issuer ('' for none).")
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps([_plain(entry) for entry in entries], indent=2))
    else:
        Console().print(_table(entries))


def _plain(entry: HistoryEntry) -> dict[str, object]:
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    return values | {"features": dict(entry.features)}


def _table(entries: Sequence[HistoryEntry]) -> Table:
    table = Table(title="Scores: 1 most deformed, 7 most normal", title_justify="left", show_lines=True)
    for heading in ("study date", "accession", "photograph"):
        table.add_column(heading, overflow="fold")
    table.add_column("status")
    table.add_column("score", justify="right")
    table.add_column("uncertainty", justify="right")
    for heading in ("generator", "regressor", "features"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        table.add_row(
            entry.study_date,
            entry.accession_number,
            entry.sop_instance_uid,
            entry.status + (f"\n{entry.reason}" if entry.reason else ""),
            _number(entry.score),
            _number(entry.uncertainty),
            entry.generator or "",
            entry.regressor or "",
            "\n".join(f"{name} {value:.3f}" for name, value in entry.features.items()),
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
