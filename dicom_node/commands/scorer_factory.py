"""What a process that scores is to load, asked for before it begins."""

from __future__ import annotations

from functools import partial

import typer

from dicom_node.scorer_loading import ScorerFactory, ScorerUnusableError, load_scorer, refuse_missing_files
from dicom_node.settings import Settings


def scorer_factory_or_exit(settings: Settings, command: str) -> ScorerFactory:
    """Return what loads the scorer; where a file of it is missing, `command` ends with status 1 and says so.

    Before photographs are taken in, which nobody would score.
    """
    try:
        refuse_missing_files(settings.scoring)
    except ScorerUnusableError as error:
        typer.echo(f"facenorm {command}: {error}", err=True)
        raise typer.Exit(1) from None
    return partial(load_scorer, settings.scoring, settings.quality.thresholds())
