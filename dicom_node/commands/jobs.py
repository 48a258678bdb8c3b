"""`facenorm jobs`: what is being scored and sent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.commands.node_database import node_database
from dicom_node.queue_place import existing_queue
from dicom_node.settings import Settings, SettingsError, load_settings
from dicom_node.stored_queue import FAILED, workflow_states
from storage.database import reading
from storage.deliveries import DEAD, PendingDelivery, count_deliveries, dead, waiting


def jobs(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.")
    ] = None,
) -> None:
    """List the studies in the queue and the deliveries that are not done, running node or not.

    Identifiers only. Exit status 1 when something has failed and waits for `facenorm retry`.
    """
    try:
        settings = load_settings(config)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    with node_database(settings) as sessions:
        failed = _print_studies(settings)
        given_up = _print_deliveries(sessions)
    if failed or given_up:
        typer.echo("`facenorm retry --all` tries again what has failed.")
        raise typer.Exit(1)


def _print_studies(settings: Settings) -> bool:
    queue = existing_queue(settings)
    states = workflow_states(queue) if queue else []
    typer.echo(f"Studies in the queue: {len(states)}")
    _print_rows([("STATE", "STUDY:PHOTOGRAPHS:SETUP"), *((state.lower(), name) for name, state in states)])
    return any(state in FAILED for _, state in states)


def _print_deliveries(sessions: sessionmaker[Session]) -> bool:
    # Who reads what is printed may take his time.
    with reading(sessions) as session:
        counts, due, given_up = count_deliveries(session), waiting(session), dead(session)
    typer.echo("Deliveries: " + ", ".join(f"{number} {state}" for state, number in counts.items()))
    header = ("ID", "STATE", "DESTINATION", "ATTEMPTS", "NEXT ATTEMPT", "LAST ERROR", "SOP INSTANCE UID")
    _print_rows([header, *map(_row, due), *map(_row, given_up)])
    return bool(given_up)


def _row(delivery: PendingDelivery) -> tuple[str, ...]:
    return (
        str(delivery.id),
        delivery.state,
        delivery.destination,
        str(delivery.attempts),
        delivery.due_at.isoformat(timespec="seconds") if delivery.state != DEAD else "-",
        delivery.error or "-",
        delivery.sop_instance_uid,
    )


def _print_rows(rows: list[tuple[str, ...]]) -> None:
    """Print a heading and what follows it in aligned columns, never cut: other programs read this."""
    if len(rows) < 2:
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
