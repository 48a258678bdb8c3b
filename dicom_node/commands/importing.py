"""`facenorm import`: move a node's history from SQLite to PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.commands.patient_lookup import operator
from dicom_node.data_folder import FolderInUseError, FolderLock
from dicom_node.settings import DATABASE_FILE, Settings, SettingsError, load_settings
from storage.database import UnusableDatabaseError, is_postgresql, open_database
from storage.moving import NotEmptyError, copy_everything
from storage.sqlite_url import sqlite_url


def import_node(
    folder: Annotated[
        Path, typer.Argument(metavar="SQLITE_FOLDER", help="The data folder of a node that is stopped.")
    ],
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The TOML file that names PostgreSQL.")
    ] = None,
) -> None:
    """Copy patients, studies, photographs, scorings, results, deliveries and audit into an empty database.

    All or nothing; SQLite keeps what it has. Files are not touched: data.folder must be the same folder, or
    a copy of it. What waits in the old queue starts anew.
    """
    try:
        settings = load_settings(config)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if not is_postgresql(settings.database_url):
        _fail("data.database_url names no PostgreSQL database to import into")
    source_file = folder.absolute() / DATABASE_FILE
    try:
        if not source_file.is_file():
            _fail(f"there is no database {source_file}: name the data folder of a node that used SQLite")
        lock = FolderLock(folder)
    except FolderInUseError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{folder}: {error.strerror}; be the user that the node ran as")
    try:
        copied = _copy(sqlite_url(source_file), settings)
    finally:
        lock.release()
    for table, number in copied.items():
        typer.echo(f"{number:>9} {table}")
    _tell_of_files(folder, settings.data.folder, settings.data.files_url)


def _copy(source_url: str, settings: Settings) -> dict[str, int]:
    try:
        with _opened(source_url) as source, _opened(settings.database_url) as target:
            return copy_everything(source, target, at=datetime.now(UTC), actor=operator())
    except UnusableDatabaseError as error:
        _fail(str(error))
    except NotEmptyError as error:
        _fail(f"the PostgreSQL database is not empty ({error}); nothing was imported: name an empty one")
    except SQLAlchemyError as error:
        _fail(f"nothing was imported ({type(error).__name__})")


@contextmanager
def _opened(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _tell_of_files(folder: Path, data: Path, files_url: str) -> None:
    if files_url:
        typer.echo(
            f"The files were not touched. Before the node starts, copy every .dcm file below "
            f"{folder.absolute()} to {files_url}, under the same names; "
            f"then `facenorm check` holds the one against the other."
        )
        return
    if folder.resolve() == data.resolve():
        typer.echo("The files stay where they are. facenorm.sqlite and dbos.sqlite are not used any more.")
        return
    typer.echo(
        f"The files were not touched. Before the node starts, bring everything in {folder.absolute()} but "
        f"*.sqlite* to {data.absolute()}; then `facenorm check` holds the one against the other."
    )


def _fail(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(1)
