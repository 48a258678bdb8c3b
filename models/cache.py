"""The folder that holds fetched weights: `<cache>/<entry>/<first 12 digits of its digest>/<file>`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from models.catalog import CATALOG, CatalogEntry

_RECORD = "record.json"


class WeightsMissingError(RuntimeError):
    """Weights are not in the cache, or damaged there; the message says how to get them."""

    def __init__(self, entry_name: str, file: str, *, damaged: bool = False) -> None:
        fault = "is damaged in the weights cache" if damaged else "is not in the weights cache"
        super().__init__(f"{file} of {entry_name} {fault}: run `facenorm models fetch`")


class CacheState(StrEnum):
    """How an entry lies in the cache."""

    MISSING = "missing"
    DAMAGED = "damaged"
    COMPLETE = "complete"


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return $FACENORM_CACHE, else $XDG_CACHE_HOME/facenorm, else ~/.cache/facenorm (made by nobody yet)."""
    if chosen := environment.get("FACENORM_CACHE"):
        return Path(chosen).expanduser().absolute()
    if xdg := environment.get("XDG_CACHE_HOME"):
        return Path(xdg) / "facenorm"
    return Path.home() / ".cache" / "facenorm"


def entry_folder(entry: CatalogEntry, cache: Path) -> Path:
    """Return the folder of `entry` below `cache`, whether or not it exists."""
    return cache / entry.name / entry.digest()[:12]


def cached_path(entry_name: str, file: str, *, cache: Path | None = None) -> Path:
    """Return the path of a fetched file.

    Raises KeyError for a name that the catalog lacks, WeightsMissingError when it was not fetched, or for
    another user alone.
    Only presence is looked at; `facenorm models verify` reads the bytes.
    """
    entry = CATALOG[entry_name]
    if file not in entry.files:
        raise KeyError(f"{entry_name} has no file {file}; it has {', '.join(entry.files)}")
    path = entry_folder(entry, cache or cache_folder()) / file
    try:
        path.open("rb").close()
    except OSError:
        raise WeightsMissingError(entry_name, file) from None
    return path


def cached_sha256(entry_name: str, file: str, *, cache: Path | None = None) -> str:
    """Return the sha256 hex digest that was recorded when `file` was stored. Raises as `cached_path`."""
    path = cached_path(entry_name, file, cache=cache)
    digest = _read_record(path.parent).get(file)
    if digest is None:
        raise WeightsMissingError(entry_name, _RECORD)
    return digest


def verify_entry(entry: CatalogEntry, cache: Path) -> CacheState:
    """Read every file of `entry` and compare its sha256 with the recorded one.

    What this user may not read is missing.
    """
    folder = entry_folder(entry, cache)
    try:
        if not folder.is_dir():
            return CacheState.MISSING
        record = _read_record(folder)
        for file in entry.files:
            path = folder / file
            if file not in record or not path.is_file() or file_sha256(path) != record[file]:
                return CacheState.DAMAGED
    except PermissionError:
        return CacheState.MISSING
    return CacheState.COMPLETE


def store_entry(entry: CatalogEntry, files: Mapping[str, bytes], cache: Path) -> None:
    """Put `files` (name -> bytes) in place of whatever the entry's folder holds, all of them or none.

    The caller holds the entry's lock. Raises ValueError when the names are not the catalog's.
    """
    if set(files) != set(entry.files):
        raise ValueError(f"{entry.name}: got {sorted(files)}, the catalog names {sorted(entry.files)}")
    target = entry_folder(entry, cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    try:
        for name, data in files.items():
            _write_durably(partial / name, data)
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        record = {"entry": entry.name, "archive_sha256": entry.archive.sha256, "files": digests}
        _write_durably(partial / _RECORD, json.dumps(record, indent=2).encode())
        partial.chmod(0o755)
        if target.exists():  # damaged, or the caller wants it anew
            shutil.rmtree(target)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def file_sha256(path: Path) -> str:
    """Return the sha256 hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _read_record(folder: Path) -> Mapping[str, str]:
    try:
        files = json.loads((folder / _RECORD).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return files if isinstance(files, dict) else {}
