"""The bucket of DICOM files: S3-compatible object storage, under the same names as in a folder."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from storage.file_cache import FileCache
from storage.file_store import UnreachableError
from storage.instances import StoredFile, file_name, intact_content

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config

_PATH = re.compile(r"[a-z][a-z_]{0,31}/[0-9a-f]{2}/[0-9a-f]{40}-[0-9a-f]{24}\.dcm", re.ASCII)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", re.ASCII)
_RETRIES = 2
# Of the S3 protocol's answers; a word of its own list.
_ERROR_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
_REFUSALS = frozenset({"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Where objects lie. Empty endpoint or region: as AWS_ENDPOINT_URL and AWS_REGION say, else Amazon's.

    Credentials come from the environment only. timeout_seconds: of one request, which is tried three times.
    """

    name: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    timeout_seconds: float = 20.0


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """Return both of `s3://bucket/prefix`; the prefix may be missing.

    Raises:
        ValueError: `url` is none of that form; the text repeats nothing of it.

    """
    parts = urlsplit(url)
    name, prefix = parts.netloc, parts.path.strip("/")
    plain = not parts.query and not parts.fragment
    if parts.scheme != "s3" or not plain or not _BUCKET.fullmatch(name):
        raise ValueError("write s3://bucket or s3://bucket/prefix, without credentials or parameters")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise ValueError("the prefix may hold letters, digits, '-', '_', '.' and single slashes")
    return name, prefix


class ObjectStore:
    """DICOM files in a bucket, with local copies of those that something opens.

    What an object holds is checked against the digest in its name whenever it comes back.
    """

    def __init__(self, bucket: Bucket, cache: FileCache) -> None:
        """Open the bucket, and ask it for one page of names.

        Raises:
            UnreachableError: the bucket is not there, does not answer or does not let these credentials in.

        """
        self._store = _opened(bucket)
        self._cache = cache
        _ask(self._store)

    def write(self, kind: str, sop_instance_uid: str, data: bytes) -> StoredFile:
        """Store `data`; returns once the bucket has acknowledged it with its SHA-256, which it was sent.

        Writing the same again is harmless and gives the same path.

        Raises:
            UnreachableError: the bucket does not answer, or refuses; there is no object then, or all of it.
            ValueError: `kind` is not a plain lower-case word.

        """
        digest = hashlib.sha256(data).hexdigest()
        path = file_name(kind, sop_instance_uid, digest)
        with _failures_as_os_errors():
            # In parts, the digest would be one of digests, and a killed writer would leave parts that cost.
            obstore.put(self._store, path, data, use_multipart=False)
        return StoredFile(path, digest, len(data))

    def read(self, path: str) -> bytes:
        """Return the content of the object, from the bucket itself.

        Raises:
            ValueError: no store gave such a path.
            FileNotFoundError: there is no such object.
            DamagedFileError: its content is not what its name says.
            UnreachableError: the bucket does not answer, or refuses.

        """
        _check(path)
        with _failures_as_os_errors():
            data = bytes(obstore.get(self._store, path).bytes())
        return intact_content(path, data)

    def absolute(self, path: str) -> Path:
        """Return a local copy of the object, fetched where there is none yet; open it within minutes.

        Of an object that is gone, the place where a copy would lie.

        Raises:
            ValueError: no store gave such a path.
            DamagedFileError: the object's content is not what its name says.
            UnreachableError: the bucket does not answer or refuses, or the disk has no room for a copy.
            OSError: the disk is failing.

        """
        _check(path)
        found = self._cache.find(path)
        if found is not None:
            return found
        try:
            data = self.read(path)
        except FileNotFoundError:
            return self._cache.place(path)
        try:
            return self._cache.keep(path, data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            # Copies go again, and somebody makes room: no reason to give the photograph up.
            raise UnreachableError(error.errno, "there is no room for a copy of it") from None

    def has(self, path: str) -> bool:
        """Whether the bucket has the object.

        Raises:
            ValueError: no store gave such a path.
            UnreachableError: the bucket does not answer, or refuses.

        """
        _check(path)
        try:
            with _failures_as_os_errors():
                obstore.head(self._store, path)
        except FileNotFoundError:
            return False
        return True

    def delete(self, path: str) -> None:
        """Remove the object and the copy here; one that is gone already is no error.

        Copies that other machines have go within an hour after their last use.

        Raises:
            ValueError: no store gave such a path.
            UnreachableError: the bucket does not answer, or refuses.

        """
        _check(path)
        self._cache.drop(path)
        try:
            with _failures_as_os_errors():
                obstore.delete(self._store, path)
        except FileNotFoundError:
            return

    def kinds(self) -> list[str]:
        """Return the kinds of which there are objects. Raises UnreachableError."""
        with _failures_as_os_errors():
            found = obstore.list_with_delimiter(self._store)["common_prefixes"]
        return sorted(name for name in found if re.fullmatch("[a-z][a-z_]{0,31}", name))

    def files(self, kind: str) -> Iterator[str]:
        """Yield the path of every object of a kind, in order. Raises UnreachableError."""
        with _failures_as_os_errors():
            for page in obstore.list(self._store, kind):
                yield from (found["path"] for found in page if _PATH.fullmatch(found["path"]))

    def free_bytes(self) -> int:
        """Return the free space, in bytes, where the cache lies: a bucket has no end."""
        return shutil.disk_usage(self._cache.folder).free

    def tidy(self) -> None:
        """Keep the cache below its size, and see whether the bucket still answers. Raises OSError."""
        self._cache.tidy()
        _ask(self._store)


def ask(bucket: Bucket) -> None:
    """Ask the bucket for one page of names, and write nothing.

    Raises:
        UnreachableError: it is not there, does not answer or does not let these credentials in.

    """
    _ask(_opened(bucket))


def _ask(store: S3Store) -> None:
    with _failures_as_os_errors():
        next(iter(obstore.list(store, chunk_size=1)), None)


def _opened(bucket: Bucket) -> S3Store:
    seconds = bucket.timeout_seconds
    options: S3Config = {"checksum_algorithm": "SHA256"}
    if bucket.endpoint:
        options["endpoint"] = bucket.endpoint
    if bucket.region:
        options["region"] = bucket.region
    client: ClientConfig = {
        "timeout": timedelta(seconds=seconds),
        "connect_timeout": timedelta(seconds=min(seconds, 5.0)),
    }
    if bucket.endpoint.startswith("http://"):
        client["allow_http"] = True
    with _failures_as_os_errors():
        return S3Store(
            bucket.name,
            prefix=bucket.prefix or None,
            config=options,
            client_options=client,
            retry_config={
                "max_retries": _RETRIES,
                "retry_timeout": timedelta(seconds=(_RETRIES + 1) * seconds),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=200),
                    "max_backoff": timedelta(seconds=2),
                    "base": 2,
                },
            },
        )


def _check(path: str) -> None:
    if not _PATH.fullmatch(path):
        raise ValueError("a stored path must be one that a store gave")


@contextmanager
def _failures_as_os_errors() -> Iterator[None]:
    """Raise OSErrors for what the library raises, without its text: that may repeat requests and answers."""
    try:
        yield
    except (BaseError, FileNotFoundError, ValueError) as error:
        raise _as_os_error(error) from None


def _as_os_error(error: Exception) -> UnreachableError | FileNotFoundError:
    answered = _ERROR_CODE.search(str(error))
    code = answered[1] if answered else type(error).__name__
    if code == "NoSuchBucket":
        # Not FileNotFoundError: no file is lost by it.
        return UnreachableError(errno.EIO, "there is no such bucket")
    if isinstance(error, FileNotFoundError | NotFoundError):
        return FileNotFoundError(errno.ENOENT, "there is no such object")
    if code in _REFUSALS or isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return UnreachableError(errno.EACCES, f"it does not let these credentials do that ({code})")
    return UnreachableError(errno.EIO, f"object storage failed ({code})")
