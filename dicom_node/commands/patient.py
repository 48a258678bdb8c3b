"""`facenorm patient`: follow what the PACS corrected, or what a patient asked for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.commands.node_database import node_database
from dicom_node.commands.patient_lookup import operator, patient_or_exit
from dicom_node.core import NodeError, open_store
from dicom_node.queue_place import existing_queue
from dicom_node.settings import Settings, SettingsError, load_settings
from dicom_node.stored_queue import forget_studies
from storage.database import empty_log
from storage.file_store import FileStore
from storage.patients import Holdings, erase_rows, holdings, lock_holdings
from storage.patients import merge as merge_patients

patient = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Merge patients as the PACS did, or erase one."
)
_Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.", dir_okay=False)
]


@patient.command()
def merge(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The identifier that is no longer valid.")],
    into: Annotated[str, typer.Argument(metavar="INTO", help="The identifier that takes its studies.")],
    from_issuer: Annotated[str | None, typer.Option(help="Issuer of FROM.")] = None,
    into_issuer: Annotated[str | None, typer.Option(help="Issuer of INTO.")] = None,
    config: _Config = None,
) -> None:
    """Give every study of one patient to another, as the PACS did; the running node reports them anew."""
    settings = _settings(config)
    with node_database(settings) as sessions, sessions.begin() as session:
        old = patient_or_exit(session, source, from_issuer, "--from-issuer")
        new = patient_or_exit(session, into, into_issuer, "--into-issuer")
        try:
            moved = merge_patients(session, old, new, at=datetime.now(UTC), actor=operator())
        except ValueError:
            typer.echo("Both are the same patient; nothing was changed.", err=True)
            raise typer.Exit(1) from None
    typer.echo(f"Studies moved: {moved}. A running node writes the reports anew.")


@patient.command()
def erase(
    patient_id: Annotated[str, typer.Argument(metavar="PATIENT_ID", help="The identifier in the PACS.")],
    issuer: Annotated[str | None, typer.Option(help="Issuer of the identifier.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: _Config = None,
) -> None:
    """Remove every file and row of a patient from this node, but for the audit. What the PACS holds stays."""
    settings = _settings(config)
    with node_database(settings) as sessions:
        with sessions() as session:
            held = holdings(session, patient_or_exit(session, patient_id, issuer))
        typer.echo(f"{len(held.studies)} studies, {held.photographs} photographs, {held.objects} results.")
        if not yes and not typer.confirm("Erase them for good?"):
            raise typer.Exit(1)
        try:
            store = open_store(settings)
        except NodeError as error:
            typer.echo(f"nothing was erased: {error}", err=True)
            raise typer.Exit(1) from None
        _forget(settings, held)
        # Before the rows are gone for good: killed here, the command can be run again. And not while the
        # database is kept from others, since a bucket takes its time for each file.
        gone, left = set[str](), set(held.paths)
        while True:
            _delete(store, left)
            gone |= left
            held = _erase_rows(sessions, store, patient_id, issuer, gone)
            if not (left := set(held.paths) - gone):
                break
        # Again: as long as there were rows, a node that runs queued what was not reported yet.
        _forget(settings, held)
        empty_log(sessions)
    typer.echo("Erased. The audit holds that it was done; backups and the PACS are yours to clear.")
    typer.echo("What a node leaves that is killed while it works on them, `facenorm check --repair` removes.")


def _forget(settings: Settings, held: Holdings) -> None:
    if queue := existing_queue(settings):
        forget_studies(queue, held.studies)


def _erase_rows(
    sessions: sessionmaker[Session], store: FileStore, patient_id: str, issuer: str | None, gone: set[str]
) -> Holdings:
    """Return what there is of the patient; the rows are erased unless it has files that are not `gone`.

    A photograph that came again since is deleted once more; who sends it from now on waits for us.
    """
    with sessions.begin() as session:
        found = patient_or_exit(session, patient_id, issuer)
        lock_holdings(session, found)
        held = holdings(session, found)
        if gone.issuperset(held.paths):
            _delete(store, filter(store.has, held.sent))
            erase_rows(session, found, held, at=datetime.now(UTC), actor=operator())
    return held


def _delete(store: FileStore, paths: Iterable[str]) -> None:
    try:
        for path in paths:
            store.delete(path)
    except OSError as error:
        typer.echo(f"a file cannot be removed ({error.strerror}): run the command again", err=True)
        raise typer.Exit(1) from None


def _settings(config: Path | None) -> Settings:
    try:
        return load_settings(config)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
