"""Whether files and rows say the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import literal, select
from sqlalchemy.orm import Session

from storage.artefacts import STRUCTURED_REPORT
from storage.deliveries import DEAD, DELIVERED
from storage.file_store import FileStore
from storage.instances import DamagedFileError
from storage.scorings import SCORED
from storage.tables import Artefact, Delivery, Photograph, Scoring

PHOTOGRAPH = "photograph"
QUARANTINE = "quarantine"


class Fault(StrEnum):
    """In what way files and rows disagree."""

    ORPHAN_FILE = "file without a row"
    MISSING_FILE = "row without its file"
    DAMAGED_FILE = "file with other content than its row says"
    DEAD_DELIVERY = "delivery that was given up"
    SCORE_WITHOUT_RESULT = "score without its normalized photograph"
    UNKNOWN_REPORT = "photograph covered by no report that exists"


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement. path: relative to the data folder, '' where no file is concerned.

    row: the key of the photograph, artefact, scoring or delivery, None for a file without one.
    """

    fault: Fault
    kind: str
    path: str = ""
    row: int | None = None
    sop_instance_uid: str = ""


def inspect_store(session: Session, store: FileStore) -> Iterator[Finding]:
    """Yield what is wrong with files: those that no row names, and rows whose file is not as it was.

    Every file is read once. Raises OSError where the folder or the bucket cannot be read.
    """
    # Pictures are kept for later comparisons; a report can do without them.
    pictures = select(Scoring.pictures_path).where(Scoring.pictures_path.is_not(None))
    known = {path for path in session.scalars(pictures) if path}
    for finding, path in _rows(session, store):
        known.add(path)
        if finding is not None:
            yield finding
    for kind in store.kinds():
        if kind == QUARANTINE:
            continue
        for path in store.files(kind):
            if path not in known:
                yield Finding(Fault.ORPHAN_FILE, kind, path)


def inspect_rows(session: Session) -> Iterator[Finding]:
    """Yield what is wrong among the rows themselves."""
    dead = select(Delivery.id, Artefact.sop_instance_uid, Artefact.path).join(
        Artefact, Artefact.id == Delivery.artefact_pk
    )
    for key, uid, path in session.execute(dead.where(Delivery.state == DEAD).order_by(Delivery.id)):
        yield Finding(Fault.DEAD_DELIVERY, "delivery", path, key, uid)
    made = {
        key
        for keys in session.scalars(select(Artefact.scoring_pks).where(Artefact.kind != STRUCTURED_REPORT))
        for key in keys
    }
    for key in session.scalars(select(Scoring.id).where(Scoring.status == SCORED).order_by(Scoring.id)):
        if key not in made:
            yield Finding(Fault.SCORE_WITHOUT_RESULT, "scoring", row=key)
    reports = select(Artefact.id).where(Artefact.kind == STRUCTURED_REPORT)
    lost = select(Photograph).where(Photograph.report_pk.is_not(None), Photograph.report_pk.not_in(reports))
    for photograph in session.scalars(lost):
        yield Finding(
            Fault.UNKNOWN_REPORT, PHOTOGRAPH, photograph.path, photograph.id, photograph.sop_instance_uid
        )


def unfinished_deliveries(session: Session) -> int:
    """Return how many deliveries are neither delivered nor given up."""
    return len(session.scalars(select(Delivery.id).where(Delivery.state.not_in((DELIVERED, DEAD)))).all())


def _rows(session: Session, store: FileStore) -> Iterator[tuple[Finding | None, str]]:
    photographs = select(
        literal(PHOTOGRAPH), Photograph.id, Photograph.sop_instance_uid, Photograph.path, Photograph.sha256,
        Photograph.purged_at,
    ).order_by(Photograph.id)  # fmt: skip
    artefacts = select(
        Artefact.kind,
        Artefact.id,
        Artefact.sop_instance_uid,
        Artefact.path,
        Artefact.sha256,
        Artefact.purged_at,
    ).order_by(Artefact.id)
    for query in (photographs, artefacts):
        for kind, key, uid, path, digest, purged_at in session.execute(query):
            fault = None if purged_at else _fault(store, path, digest)
            yield (Finding(fault, kind, path, key, uid) if fault else None), path


def _fault(store: FileStore, path: str, digest: str) -> Fault | None:
    try:
        content = store.read(path)
    except (FileNotFoundError, ValueError):
        return Fault.MISSING_FILE
    except DamagedFileError:
        return Fault.DAMAGED_FILE
    return None if hashlib.sha256(content).hexdigest() == digest else Fault.DAMAGED_FILE
