"""The folder of DICOM files: durable, atomic writes under names that no sender can choose."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from storage.atomic_file import remove_partial_files, sync_folder, write_atomically

_KIND = re.compile(r"[a-z][a-z_]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A durable file. `path` is relative to the data folder, `sha256` lower-case hex, `size_bytes` bytes."""

    path: str
    sha256: str
    size_bytes: int


class DamagedFileError(OSError):
    """The content of a file is not what its name says: it was changed behind our back."""


def file_name(kind: str, sop_instance_uid: str, digest: str) -> str:
    """Return the relative path of a file whose content has the SHA-256 `digest`.

    Raises:
        ValueError: `kind` is not a plain lower-case word.

    """
    if not _KIND.fullmatch(kind):
        raise ValueError("the kind of a file must be a lower-case word")
    name = hashlib.sha256(sop_instance_uid.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{kind}/{name[:2]}/{name[:40]}-{digest[:24]}.dcm"


def intact_content(path: str, data: bytes) -> bytes:
    """Return `data`, whose SHA-256 is what the path that `file_name` gave says; raises DamagedFileError."""
    if not _is_named(path, hashlib.sha256(data).hexdigest()):
        raise DamagedFileError("the file is not what its name says")
    return data


def intact(path: str, file: Path) -> Path:
    """Return `file` where its content is what `path` says, or where there is none; it is read in parts.

    Raises:
        DamagedFileError: it is not.
        OSError: it cannot be read.

    """
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except FileNotFoundError:
        return file
    if not _is_named(path, digest):
        raise DamagedFileError("the file is not what its name says")
    return file


def _is_named(path: str, digest: str) -> bool:
    """Whether the path is of a file with this SHA-256."""
    return digest[:24] == path[-28:-4]


class InstanceStore:
    """DICOM files below the data folder, readable by their owner only.

    A file's name is made of digests of its SOP Instance UID and of its content. So nothing received
    reaches a path, and other content under the same UID cannot replace what is already there.
    """

    def __init__(self, folder: Path) -> None:
        """Create `folder` where needed and remove what killed writers left in it.

        Raises:
            OSError: the folder cannot be created or written.

        """
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        remove_partial_files(self.folder)

    def write(self, kind: str, sop_instance_uid: str, data: bytes) -> StoredFile:
        """Store `data` below the subfolder `kind`; once this returns it survives a power failure.

        Writing the same again is harmless and gives the same path.

        Raises:
            OSError: the disk is full or failing; nothing is left behind.
            ValueError: `kind` is not a plain lower-case word.

        """
        digest = hashlib.sha256(data).hexdigest()
        target = self.folder / file_name(kind, sop_instance_uid, digest)
        self._make_folders(target.parent)
        try:
            write_atomically(target, data)
        except FileNotFoundError:
            # A store that another process opened just now took the file for a leftover before it was locked.
            write_atomically(target, data)
        return StoredFile(str(target.relative_to(self.folder)), digest, len(data))

    def read(self, path: str) -> bytes:
        """Return the content of the file at `path`, relative to the data folder.

        Raises:
            ValueError: `path` leads out of the data folder.
            OSError: the file is not there or cannot be read.

        """
        return self.absolute(path).read_bytes()

    def absolute(self, path: str) -> Path:
        """Return the absolute path of `path`, links resolved.

        Raises:
            ValueError: `path` is absolute or leads out of the data folder.

        """
        folder = self.folder.resolve()
        if "\0" in path or Path(path).is_absolute():
            raise ValueError("a stored path must be relative to the data folder")
        resolved = (folder / path).resolve()
        if resolved == folder or not resolved.is_relative_to(folder):
            raise ValueError("a stored path must stay inside the data folder")
        return resolved

    def has(self, path: str) -> bool:
        """Whether there is a file at `path`. Raises ValueError: `path` leads out of the data folder."""
        return self.absolute(path).is_file()

    def delete(self, path: str) -> None:
        """Remove the file at `path`; one that is gone already is no error.

        Raises:
            ValueError: `path` leads out of the data folder.
            OSError: the file cannot be removed.

        """
        target = self.absolute(path)
        target.unlink(missing_ok=True)
        with suppress(FileNotFoundError):  # the folder is gone as well
            sync_folder(target.parent)

    def kinds(self) -> list[str]:
        """Return the kinds that have a subfolder."""
        return sorted(
            path.name for path in self.folder.iterdir() if path.is_dir() and _KIND.fullmatch(path.name)
        )

    def files(self, kind: str) -> Iterator[str]:
        """Yield the path, relative to the data folder, of every whole file of a kind."""
        for path in sorted((self.folder / kind).glob("*/*.dcm")):
            yield str(path.relative_to(self.folder))

    def free_bytes(self) -> int:
        """Return the free space, in bytes, where the folder lies."""
        return shutil.disk_usage(self.folder).free

    def tidy(self) -> None:
        """Do nothing: there are no local copies of what is local."""

    def _make_folders(self, folder: Path) -> None:
        missing = [part for part in (folder, folder.parent) if not part.is_dir()]
        for part in reversed(missing):
            part.mkdir(mode=0o700, exist_ok=True)
            sync_folder(part.parent)
