"""`facenorm retry`: try again what was given up."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.node_database import node_database
from dicom_node.failed_studies import forget_failed_studies
from dicom_node.settings import Settings, SettingsError, load_settings
from storage.deliveries import revive


def retry(
    delivery_ids: Annotated[
        list[int] | None,
        typer.Argument(
            metavar="[DELIVERY_ID]...", min=1, max=2**63 - 1, help="As `facenorm jobs` shows them."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every dead delivery, and every study whose scoring failed.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The node's TOML file.")
    ] = None,
) -> None:
    """Make dead deliveries due at once; the node takes them up within seconds, or at its next start."""
    if bool(delivery_ids) == everything:
        typer.echo("Name the deliveries to retry, or give --all.", err=True)
        raise typer.Exit(2)
    try:
        settings = load_settings(config)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    revived = _revive(settings, None if everything else delivery_ids)
    typer.echo(f"{len(revived)} deliveries are due again.")
    if everything:
        with node_database(settings) as sessions:
            typer.echo(f"{forget_failed_studies(settings, sessions)} studies will be scored again.")
    missing = sorted(set(delivery_ids or []) - set(revived))
    if missing:
        typer.echo("Not dead, so left alone: " + ", ".join(map(str, missing)), err=True)
        raise typer.Exit(1)


def _revive(settings: Settings, ids: list[int] | None) -> list[int]:
    with node_database(settings) as sessions, sessions.begin() as session:
        return revive(session, now=datetime.now(UTC), ids=ids)
