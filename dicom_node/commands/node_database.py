"""The node's database, opened for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.settings import Settings
from storage.database import UnusableDatabaseError, missing_file, open_database, sessions


@contextmanager
def node_database(settings: Settings) -> Iterator[sessionmaker[Session]]:
    """Give the sessions of the node's database, its tables up to date, and close it at the end.

    Where it cannot be used, or no node has made it yet, or it fails meanwhile, the command ends with status 1
    and a line that says what to do; it is the node that makes it.
    """
    if absent := missing_file(settings.database_url):
        typer.echo(
            f"there is no database {absent}: no node has run on this data folder; check data.folder "
            "(--config, or the working directory that it counts from)",
            err=True,
        )
        raise typer.Exit(1)
    try:
        engine = open_database(settings.database_url)
    except UnusableDatabaseError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    try:
        yield sessions(engine)
    except SQLAlchemyError as error:
        typer.echo(
            f"the database, or the queue beside it, failed ({type(error).__name__}); nothing more was done",
            err=True,
        )
        raise typer.Exit(1) from None
    finally:
        engine.dispose()
