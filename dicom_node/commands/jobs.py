"""`facenorm jobs`: what is being scored and sent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dicom_node.settings import Settings, SettingsError, load_settings
from dicom_node.workflow import system_database, workflow_states
from storage.database import connect, migrate, sessions
from storage.deliveries import count_deliveries, dead, waiting


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
    console = Console(soft_wrap=True, highlight=False)
    failed = _print_studies(console, settings)
    given_up = _print_deliveries(console, settings)
    if failed or given_up:
        console.print("`facenorm retry --all` tries again what has failed.")
        raise typer.Exit(1)


def _print_studies(console: Console, settings: Settings) -> bool:
    path = system_database(settings.data.folder)
    states = workflow_states(path) if path.exists() else []
    table = _table("state", "study : photographs : setup")
    for identifier, state in states:
        table.add_row(state.lower(), identifier)
    console.print(f"Studies in the queue: {len(states)}")
    if states:
        console.print(table)
    return any(state not in {"ENQUEUED", "PENDING", "DELAYED"} for _, state in states)


def _print_deliveries(console: Console, settings: Settings) -> bool:
    engine = connect(settings.database_url)
    try:
        migrate(engine)
        with sessions(engine)() as session:
            counts, due, given_up = count_deliveries(session), waiting(session), dead(session)
    finally:
        engine.dispose()
    console.print("Deliveries: " + ", ".join(f"{number} {state}" for state, number in counts.items()))
    table = _table("id", "state", "destination", "attempts", "next attempt", "last error", "SOP Instance UID")
    for delivery in due:
        when = delivery.due_at.isoformat(timespec="seconds")
        table.add_row(
            str(delivery.id),
            "due",
            delivery.destination,
            str(delivery.attempts),
            when,
            delivery.error or "",
            delivery.sop_instance_uid,
        )
    for delivery in given_up:
        table.add_row(
            str(delivery.id),
            "dead",
            delivery.destination,
            str(delivery.attempts),
            "",
            delivery.error or "",
            delivery.sop_instance_uid,
        )
    if due or given_up:
        console.print(table)
    return bool(given_up)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table
