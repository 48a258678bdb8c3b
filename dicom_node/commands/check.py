"""`facenorm check`: hold files against database, and repair what can be repaired."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.commands.node_database import node_database
from dicom_node.commands.progress_bars import counted_files
from dicom_node.core import NodeError, open_store
from dicom_node.data_folder import FolderInUseError, FolderLock
from dicom_node.failed_studies import forget_failed_studies
from dicom_node.repair import Repair
from dicom_node.settings import Settings, SettingsError, load_settings
from storage.consistency import Finding, inspect_rows, inspect_store, unfinished_deliveries
from storage.database import reading
from storage.workers import count_seen_since


def check(
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended; the node must not run.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.")
    ] = None,
) -> None:
    """Read every file and row, and say where they disagree. Identifiers only.

    Of a node that runs, what is written just now may look like a file without a row: run it again.
    Exit status 1 when something is wrong and was not mended.
    """
    try:
        settings = load_settings(config)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    try:
        agrees = _check(settings, repair=repair)
    except NodeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"a file cannot be read or written, nothing more was done: {error.strerror}", err=True)
        raise typer.Exit(1) from None
    if not agrees:
        raise typer.Exit(1)


def _lock(settings: Settings, held: ExitStack) -> None:
    try:
        held.callback(FolderLock(settings.data.folder).release)
    except FolderInUseError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def _refuse_workers(settings: Settings, sessions: sessionmaker[Session]) -> None:
    since = datetime.now(UTC) - 2 * timedelta(seconds=settings.workers.gone_seconds)
    with sessions() as session:
        alive = count_seen_since(session, since)
    if alive:
        typer.echo(f"{alive} workers live, or did a moment ago; stop them first", err=True)
        raise typer.Exit(1)


def _check(settings: Settings, *, repair: bool) -> bool:
    # The database first: locking makes the folder, also where it is only mistyped.
    with node_database(settings) as sessions, ExitStack() as held:
        if repair:
            _lock(settings, held)
            _refuse_workers(settings, sessions)
        store = open_store(settings)
        with counted_files("checking") as progress:
            findings = inspect_store(sessions, store, progress)
        with reading(sessions) as session:
            findings += inspect_rows(session)
            waiting = unfinished_deliveries(session)
        _print(findings)
        typer.echo(f"Deliveries that are under way: {waiting}")
        if not repair:
            return not findings
        mended = Repair(sessions=sessions, store=store, clock=lambda: datetime.now(UTC)).mend(findings)
        studies = forget_failed_studies(settings, sessions)
    for item in mended:
        typer.echo(
            f"  {item.finding.fault}: {item.action}: {item.finding.sop_instance_uid or item.finding.path}"
        )
    typer.echo(f"Studies whose scoring had failed, to be scored again: {studies}")
    return all(item.complete for item in mended)


def _print(findings: list[Finding]) -> None:
    if not findings:
        typer.echo("Files and database agree.")
    for fault, number in sorted(Counter(finding.fault for finding in findings).items()):
        typer.echo(f"{fault}: {number}")
    for finding in findings:
        typer.echo(f"  {finding.kind}  {finding.sop_instance_uid or '-'}  {finding.path or '-'}")
