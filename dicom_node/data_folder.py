"""One node per data folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

LOCK_NAME = "node.lock"
"""In the data folder; it stays there."""


RESTORING_NAME = ".restoring"
"""In a data folder that is being restored: what is unpacked and not in its place yet."""


def refuse_half_restored(folder: Path) -> None:
    """Raise HalfRestoredError where a restore was cut off; the folder's lock is held.

    A node would begin an empty history there, beside which no restore is possible any more.
    """
    if (folder / RESTORING_NAME).exists():
        raise HalfRestoredError(
            f"a restore into {folder} was cut off: run `facenorm restore` once more with the same backup, "
            "or set another data.folder"
        )


class HalfRestoredError(Exception):
    """The data folder holds a part of a backup; the text says what to do."""


def has_had_a_node(folder: Path) -> bool:
    """Whether a node has ever worked on the folder."""
    return (folder / LOCK_NAME).exists()


class FolderInUseError(Exception):
    """Another node works on the data folder; the text says which folder and what to do."""


class FolderLock:
    """Held by the node that works on a data folder; the system lets go of it when the process ends."""

    def __init__(self, folder: Path) -> None:
        """Create `folder` where needed (readable by its owner only) and take its lock.

        Raises:
            FolderInUseError: another process, or another node in this one, holds it.
            OSError: the folder cannot be created or written.

        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise FolderInUseError(
                f"another node works on the data folder {folder}; stop it, or set another data.folder"
            ) from None
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let go; doing so twice is harmless. The file stays: removing it would let two nodes in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
