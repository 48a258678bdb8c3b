"""`facenorm migrate`: bring the database's tables up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.settings import SettingsError, load_settings
from dicom_node.stored_queue import prepare_queue
from storage.database import UnusableDatabaseError, is_postgresql, migrate_database, missing_file


def migrate(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.")
    ] = None,
) -> None:
    """Upgrade the tables, and on PostgreSQL the queue's, all or nothing, and say from what to what.

    `facenorm serve` and `facenorm worker` do so at their start. This is for whoever wants it done before, or
    by another user of the database than they have.
    """
    try:
        settings = load_settings(config)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    url = settings.database_url
    new_file = missing_file(url)
    try:
        before, after = migrate_database(url)
    except UnusableDatabaseError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    if new_file:
        typer.echo(f"There was no database {new_file}: it was made.")
    elif before == after:
        typer.echo(f"The tables are up to date: revision {after}.")
    else:
        typer.echo(f"The tables were upgraded from revision {before or 'none'} to {after}.")
    if is_postgresql(url):
        _prepare_queue(url)


def _prepare_queue(url: str) -> None:
    try:
        prepare_queue(url)
    except SQLAlchemyError as error:
        typer.echo(f"the queue's tables cannot be upgraded ({type(error).__name__})", err=True)
        raise typer.Exit(1) from None
    typer.echo("The queue's tables are up to date.")
