"""`facenorm rescore PATIENT_ID`: a patient's whole history under the current model."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.node_database import node_database
from dicom_node.commands.patient_lookup import operator, patient_or_exit
from dicom_node.settings import SettingsError, load_settings
from storage.audit import Event, add_audit_event
from storage.patients import reopen


def rescore(
    patient_id: Annotated[str, typer.Argument(metavar="PATIENT_ID", help="The identifier in the PACS.")],
    issuer: Annotated[
        str | None, typer.Option(help="Issuer of the identifier; needed where several use it.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The node's TOML file.", dir_okay=False)
    ] = None,
) -> None:
    """Score every photograph of a patient with the node's current model and settings, oldest study first.

    The running node does it, or the next one that is started. What it scored with this model before is not
    scored again. New reports name the ones that they succeed.
    """
    try:
        settings = load_settings(config)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    with node_database(settings) as sessions, sessions.begin() as session:
        patient = patient_or_exit(session, patient_id, issuer)
        studies = reopen(session, patient)
        add_audit_event(
            session,
            Event.RESCORED,
            at=datetime.now(UTC),
            actor=operator(),
            patient_id=patient.patient_id,
            issuer=patient.issuer_of_patient_id,
            detail={"studies": studies},
        )
    typer.echo(f"Studies that the node scores anew: {studies}.")
