"""What is done again and again about the place of the files, and what health says of it."""

from __future__ import annotations

from dicom_node.chores import Chore, Chores
from dicom_node.core import Core

INTERVAL_SECONDS = 60.0
_NAME = "files"


def files_work(core: Core) -> dict[str, Chore]:
    """Return the chore: every process asks the bucket, and sees to its own copies of what is there."""
    return {_NAME: (INTERVAL_SECONDS, core.store.tidy)}


def files_trouble(chores: Chores | None) -> str | None:
    """Return what was wrong at its last turn; files in the data folder are never."""
    if chores and _NAME in chores.failing:
        return "object storage, or the folder with copies of it, failed when it was asked last"
    return None
