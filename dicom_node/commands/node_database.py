"""The node's database, opened for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.settings import Settings
from storage.database import UnusableDatabaseError, open_database, sessions


@contextmanager
def node_database(settings: Settings) -> Iterator[sessionmaker[Session]]:
    """Give the sessions of the node's database, its tables up to date, and close it at the end.

    Where it cannot be used, the command ends with status 1 and a line that says what to do.
    """
    try:
        engine = open_database(settings.database_url)
    except UnusableDatabaseError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    try:
        yield sessions(engine)
    finally:
        engine.dispose()
