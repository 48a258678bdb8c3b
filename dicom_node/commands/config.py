"""`facenorm config check`: whether a node could start on these settings."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.core import bucket_trouble
from dicom_node.settings import Settings, SettingsError, load_settings
from dicom_node.tls import Certificates, TlsError

config = typer.Typer(add_completion=False, no_args_is_help=True, help="Look at the settings.")


@config.callback()
def _group() -> None:
    """Look at the settings."""


@config.command()
def check(
    file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.")
    ] = None,
) -> None:
    """Name every wrong key, and what else keeps a node from starting.

    Exit status 0: the settings can be used; 2: a key is wrong; 1: what a key names cannot be used.
    """
    try:
        settings = load_settings(file)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    troubles = [*_certificates(settings), *_folder(settings), *_files(settings)]
    for trouble in troubles:
        typer.echo(trouble, err=True)
    if troubles:
        raise typer.Exit(1)
    typer.echo("The settings can be used.")
    for note in [*_notes(settings), *_files_named(settings), *_secrets(file)]:
        typer.echo(f"Note: {note}")


def _certificates(settings: Settings) -> list[str]:
    try:
        Certificates.of(settings)
    except TlsError as error:
        return [str(error)]
    return []


def _folder(settings: Settings) -> list[str]:
    folder = settings.data.folder.absolute()
    # What this user may not look at counts as not there, and its parent as what cannot be written.
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return []
    return [f"data.folder: {existing} cannot be written by this user; correct it"]


def _files(settings: Settings) -> list[str]:
    trouble = bucket_trouble(settings)
    return [trouble] if trouble else []


def _notes(settings: Settings) -> list[str]:
    notes = []
    if not settings.senders:
        notes.append("senders: nobody may send")
    if any(not sender.host for sender in settings.senders):
        notes.append("senders: an entry without a host admits whoever knows its AE title")
    if not settings.destinations:
        notes.append("destinations: results are only kept here")
    archive = settings.priors.ae_title
    if archive and archive not in {sender.ae_title for sender in settings.senders}:
        notes.append(f"priors.ae_title: {archive} is not among the senders: what it is asked for is refused")
    if not settings.status.token:
        notes.append("status.token: without it there is /health, and neither metrics nor a page")
    if settings.node.host not in ("127.0.0.1", "::1", "localhost") and not settings.node.tls:
        notes.append("node.tls: the node listens beyond this machine, and nothing is encrypted")
    return notes


def _files_named(settings: Settings) -> list[str]:
    # No trouble for a node that leaves scoring to workers elsewhere.
    named = {"regressor": settings.scoring.regressor}
    if "." in Path(settings.scoring.generator).name:
        named["generator"] = settings.scoring.generator
    return [
        f"scoring.{key}: there is no file {Path(name).absolute()}; without it nothing is scored here"
        for key, name in named.items()
        if name and not os.path.isfile(name)  # noqa: PTH113 -- false for what may not be looked at
    ]


def _secrets(file: Path | None) -> list[str]:
    """Say where others may read what only the node should know; the environment is not looked at."""
    if file is None or not file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return []
    written = tomllib.loads(file.read_text("utf-8-sig"))
    found = [
        f"{section}.{key}"
        for section, key in (("status", "token"), ("data", "database_url"))
        if written.get(section, {}).get(key)
    ]
    return [f"{', '.join(found)}: others may read {file}; chmod 600, or use the environment"] if found else []
