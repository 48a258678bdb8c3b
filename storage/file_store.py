"""What the service asks of a place for its files, wherever that lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from storage.instances import StoredFile


class UnreachableError(OSError):
    """A place that is not on this machine does not answer, or refuses; another try may go well."""


class FileStore(Protocol):
    """DICOM files under names of digests: `InstanceStore` in a folder, `ObjectStore` in a bucket.

    Every method raises OSError where the place fails, and ValueError for a path that no store gave.
    """

    def write(self, kind: str, sop_instance_uid: str, data: bytes) -> StoredFile:
        """Store `data`; once this returns it is durable. The same again is harmless, under the same path."""
        ...

    def read(self, path: str) -> bytes:
        """Return the content at `path` as the place has it. Raises FileNotFoundError where it is gone."""
        ...

    def absolute(self, path: str) -> Path:
        """Return a local file with that content, to be opened soon; none is there when it is gone."""
        ...

    def has(self, path: str) -> bool:
        """Whether the place has a file at `path`."""
        ...

    def delete(self, path: str) -> None:
        """Remove the file; one that is gone already is no error."""
        ...

    def kinds(self) -> list[str]:
        """Return the kinds of which there are files, or were."""
        ...

    def files(self, kind: str) -> Iterator[str]:
        """Yield the path of every whole file of a kind, in order."""
        ...

    def free_bytes(self) -> int:
        """Return the free space, in bytes, of the disk under the data folder."""
        ...

    def tidy(self) -> None:
        """Let go of local copies that nobody needs any more, and see whether the place answers, from afar."""
        ...
