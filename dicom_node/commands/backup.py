"""`facenorm backup` and `facenorm restore`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.backup import BackupError, Contents, restore_backup, write_backup
from dicom_node.commands.node_database import node_database
from dicom_node.commands.patient_lookup import operator
from dicom_node.commands.progress_bars import counted_files
from dicom_node.core import NodeError, open_store
from dicom_node.settings import Settings, SettingsError, load_settings
from storage.consistency import inspect_store

_Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.")]


def backup(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="The tar file to write.")],
    config: _Config = None,
) -> None:
    """Write database, photographs and results into one archive, while the node runs or not.

    Keep it as safe as the original: it shows faces and names patients.
    """
    settings = _settings(config)
    try:
        with node_database(settings) as sessions, counted_files("writing") as progress:
            contents = write_backup(
                settings, archive, sessions, lambda: datetime.now(UTC), operator(), progress
            )
    except BackupError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{archive}: {_told(contents)}")
    if settings.data.files_url:
        typer.echo(
            f"The files are not in it: they stay in {settings.data.files_url}. See to the bucket's own "
            "versions or copies, made after this."
        )


def restore(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="What `facenorm backup` wrote.")],
    config: _Config = None,
) -> None:
    """Unpack an archive into an empty data folder, and hold its files against its database."""
    settings = _settings(config)
    try:
        with counted_files("unpacking") as progress:
            contents = restore_backup(settings, archive, progress)
    except BackupError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{settings.data.folder}: {_told(contents)}")
    try:
        with node_database(settings) as sessions, counted_files("checking") as progress:
            findings = inspect_store(sessions, open_store(settings), progress)
    except (NodeError, OSError) as error:
        typer.echo(f"unpacked, but the files cannot be read: {error}", err=True)
        raise typer.Exit(1) from None
    if findings:
        typer.echo(f"{len(findings)} files and rows disagree: `facenorm check` names them", err=True)
        raise typer.Exit(1)
    typer.echo("Files and database agree.")


def _told(contents: Contents) -> str:
    return f"the database and {contents.files} files, {contents.size_bytes / 1e6:.1f} MB"


def _settings(config: Path | None) -> Settings:
    try:
        return load_settings(config)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
