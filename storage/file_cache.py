"""Local copies of files that lie elsewhere, below a stated size."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.atomic_file import remove_partial_files, write_atomically

# Who was given a path opens it within seconds; a scoring that waits longer fails, and is tried again.
_IN_USE_SECONDS = 15 * 60
# Erased and purged elsewhere, a file must not stay here.
_KEPT_SECONDS = 60 * 60


class FileCache:
    """A folder that only its owner can look into; several processes may share it."""

    def __init__(self, folder: Path, *, most_bytes: int, clock: Callable[[], float] = time.time) -> None:
        """Create `folder` where needed and let go of what is left from before.

        clock: seconds, as `st_mtime` counts them.

        Raises:
            OSError: the folder cannot be created or written.

        """
        self.folder = folder.absolute()
        self._most_bytes = most_bytes
        self._clock = clock
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        remove_partial_files(self.folder)
        self.tidy()

    def place(self, path: str) -> Path:
        """Return where the copy of `path`, which must be a store's own, lies or would lie."""
        return self.folder / path

    def find(self, path: str) -> Path | None:
        """Return the copy of `path`, marked as in use, or None where there is none."""
        place = self.place(path)
        with self._locked():
            return place if self._mark(place) else None

    def keep(self, path: str, data: bytes) -> Path:
        """Write a copy of `path`, whole or not at all, and return it. Raises OSError."""
        place = self.place(path)
        for folder in (place.parent.parent, place.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        try:
            write_atomically(place, data)
        except FileNotFoundError:
            # A cache that another process opened just now took the file for a leftover before it was locked.
            write_atomically(place, data)
        with self._locked():
            self._mark(place)
        return place

    def drop(self, path: str) -> None:
        """Remove the copy of `path`; who has it open reads on. Raises OSError."""
        self.place(path).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what nobody used for an hour, then the least recently used until the size is right.

        What was used within a quarter of an hour stays: a path that was handed out will be opened. Raises
        OSError.
        """
        copies = sorted(self._copies())
        total = sum(size for _, size, _ in copies)
        now = self._clock()
        for used, size, place in copies:
            idle = now - used
            if idle < _IN_USE_SECONDS or (idle < _KEPT_SECONDS and total <= self._most_bytes):
                break
            if self._remove_unless_used(place, used):
                total -= size

    def _copies(self) -> Iterator[tuple[float, int, Path]]:
        for place in self.folder.glob("*/*/*.dcm"):
            with suppress(FileNotFoundError):
                found = place.stat()
                yield found.st_mtime, found.st_size, place

    def _mark(self, place: Path) -> bool:
        now = self._clock()
        try:
            os.utime(place, (now, now))
        except FileNotFoundError:
            return False
        return True

    def _remove_unless_used(self, place: Path, used: float) -> bool:
        with self._locked(), suppress(FileNotFoundError):
            if place.stat().st_mtime == used:
                place.unlink()
                return True
        return False

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep others, here and in other processes, from marking and removing meanwhile."""
        descriptor = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
