"""The small PACS of the demo: what the node sends to, and what the demo reads back from."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from pydicom.dataset import Dataset

from dicom_node.demo.problem import DemoError

AE_TITLE: Final = "DEMO-PACS"


class ArchiveKind(StrEnum):
    """Which PACS is wanted."""

    AUTO = "auto"
    ORTHANC = "orthanc"
    BUILTIN = "builtin"


class Archive(Protocol):
    """A running PACS on loopback that stores what it gets."""

    @property
    def name(self) -> str:
        """What it is, for people."""
        ...

    @property
    def port(self) -> int:
        """The TCP port that takes associations for `AE_TITLE`."""
        ...

    def objects(self) -> Sequence[Dataset]:
        """Return everything that it holds. Raises DemoError where it does not answer."""
        ...


def orthanc_binary() -> str | None:
    """Return the path of the Orthanc program, None where it is not installed."""
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")


def running_archive(kind: ArchiveKind, folder: Path) -> AbstractContextManager[Archive]:
    """Return a PACS that keeps its data in `folder` and runs within the context.

    Raises DemoError where Orthanc is asked for and not installed.
    """
    from dicom_node.demo.orthanc import running_orthanc
    from dicom_node.demo.storage_scp import running_storage_scp

    binary = orthanc_binary()
    if kind is ArchiveKind.ORTHANC and binary is None:
        raise DemoError("Orthanc is not installed; install it (Debian: orthanc) or use --pacs builtin")
    folder.mkdir(parents=True, exist_ok=True)
    if binary is None or kind is ArchiveKind.BUILTIN:
        return running_storage_scp(folder)
    return running_orthanc(binary, folder)
