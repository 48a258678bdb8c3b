"""Finished objects on their way into the store: written, durable, named."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO

from pydicom.dataset import FileDataset
from pydicom.filewriter import dcmwrite
from sqlalchemy.orm import Session, sessionmaker

from reports.reported_photograph import ObjectReference
from storage.artefacts import FinishedObject, names_file
from storage.file_store import FileStore
from storage.tables import Artefact


def keep(store: FileStore, kind: str, finished: FileDataset) -> FinishedObject:
    """Write the object to the store; durable when this returns. Raises OSError."""
    content = BytesIO()
    dcmwrite(content, finished, enforce_file_format=True)
    stored = store.write(kind, finished.SOPInstanceUID, content.getvalue())
    return FinishedObject(
        kind=kind,
        sop_instance_uid=str(finished.SOPInstanceUID),
        sop_class_uid=str(finished.SOPClassUID),
        series_instance_uid=str(finished.SeriesInstanceUID),
        sha256=stored.sha256,
        path=stored.path,
    )


def discard_unnamed(
    sessions: sessionmaker[Session], store: FileStore, objects: Iterable[FinishedObject]
) -> None:
    """Delete the files of objects that were not recorded, unless the recorded one is the same to the byte.

    Raises OSError.
    """
    for one in objects:
        with sessions() as session:
            named = names_file(session, one.path)
        if not named:
            store.delete(one.path)


def reference(made: Artefact | FinishedObject | None) -> ObjectReference | None:
    """Return where the object is found; None for none."""
    if made is None:
        return None
    return ObjectReference(
        sop_class_uid=made.sop_class_uid,
        sop_instance_uid=made.sop_instance_uid,
        series_instance_uid=made.series_instance_uid,
    )
