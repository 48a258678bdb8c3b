"""Finished objects on their way into the store: written, durable, named."""

from __future__ import annotations

from io import BytesIO
from types import TracebackType
from typing import Self

import structlog
from pydicom.dataset import FileDataset
from pydicom.filewriter import dcmwrite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.outage import is_outage
from reports.reported_photograph import ObjectReference
from storage.artefacts import FinishedObject, names_file
from storage.file_store import FileStore
from storage.tables import Artefact

_log = structlog.get_logger(__name__)


class Unrecorded:
    """Objects whose files are durable and whose rows are not written yet.

    An exception that leaves its context takes the files along, or those of a patient who is erased meanwhile
    would be left without a row, where no later erasure finds them. Not so where database or files are away:
    then nobody knows what was recorded, and the step is tried again.
    """

    def __init__(self, sessions: sessionmaker[Session], store: FileStore) -> None:
        self._sessions, self._store = sessions, store
        self._objects: list[FinishedObject] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or is_outage(error):
            return
        try:
            self.discard()
        except (OSError, SQLAlchemyError) as failure:  # the first exception tells more
            _log.warning("files without a row are left", error=type(failure).__name__)

    def keep(self, kind: str, finished: FileDataset) -> FinishedObject:
        """Write the object to the store; durable when this returns. Raises OSError."""
        content = BytesIO()
        dcmwrite(content, finished, enforce_file_format=True)
        stored = self._store.write(kind, finished.SOPInstanceUID, content.getvalue())
        kept = FinishedObject(
            kind=kind,
            sop_instance_uid=str(finished.SOPInstanceUID),
            sop_class_uid=str(finished.SOPClassUID),
            series_instance_uid=str(finished.SeriesInstanceUID),
            sha256=stored.sha256,
            path=stored.path,
        )
        self._objects.append(kept)
        return kept

    def discard(self) -> None:
        """Delete the files that no row names; one that was recorded may be the same to the byte.

        Raises OSError and SQLAlchemyError.
        """
        for one in self._objects:
            with self._sessions() as session:
                named = names_file(session, one.path)
            if not named:
                self._store.delete(one.path)


def reference(made: Artefact | FinishedObject | None) -> ObjectReference | None:
    """Return where the object is found; None for none."""
    if made is None:
        return None
    return ObjectReference(
        sop_class_uid=made.sop_class_uid,
        sop_instance_uid=made.sop_instance_uid,
        series_instance_uid=made.series_instance_uid,
    )
