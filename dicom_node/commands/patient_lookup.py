"""A patient, named on the command line."""

from __future__ import annotations

import getpass

import typer
from sqlalchemy.orm import Session

from storage.patients import AmbiguousPatientError, UnknownPatientError, find_patient
from storage.tables import Patient


def patient_or_exit(
    session: Session, patient_id: str, issuer: str | None, option: str = "--issuer"
) -> Patient:
    """Return the patient; where there is none or several, the command ends with status 1 and says so."""
    try:
        return find_patient(session, patient_id, issuer)
    except UnknownPatientError:
        typer.echo("No photograph of a patient with this identifier has been received.", err=True)
    except AmbiguousPatientError:
        typer.echo(f"Several issuers use this identifier; name one with {option} ('' for none).", err=True)
    raise typer.Exit(1)


def operator() -> str:
    """Return who runs the command, for the audit."""
    try:
        return f"operator {getpass.getuser()}"
    except (OSError, KeyError, ImportError):
        return "operator"
