"""Whether files and rows say the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from sqlalchemy import ColumnElement, func, literal, select
from sqlalchemy.orm import Session, sessionmaker

from storage.artefacts import STRUCTURED_REPORT
from storage.database import reading
from storage.deliveries import DEAD, DELIVERED
from storage.file_store import FileStore
from storage.instances import DamagedFileError
from storage.scorings import SCORED
from storage.tables import Artefact, Delivery, Photograph, Scoring

PHOTOGRAPH = "photograph"
QUARANTINE = "quarantine"
_T = TypeVar("_T")
_TABLES: tuple[type[Photograph | Artefact], ...] = (Photograph, Artefact)
_PAGE = 500


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


def inspect_store(
    sessions: sessionmaker[Session],
    store: FileStore,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Finding]:
    """Return what is wrong with files: those that no row names, and rows whose file is not as it was.

    A row that retention has closed names none.

    Every file is read, in no transaction: a node may run meanwhile. So what seems wrong is looked at once
    more at the end, when it may have come or gone. progress: called with how many were read, and of how many.
    Raises OSError where the place of files cannot be read.
    """
    with reading(sessions) as session:
        of = sum(session.scalar(select(func.count()).select_from(table)) or 0 for table in _TABLES)
    known: set[str] = set()
    doubtful: list[_Row] = []
    for done, row in enumerate(_rows(sessions), start=1):
        progress(done, max(done, of))  # some may have come since they were counted
        if row.purged:  # its file has to be gone
            continue
        known.add(row.path)
        if _fault(store, row):
            doubtful.append(row)
    with reading(sessions) as session:
        # Pictures are kept for later comparisons; a report can do without them.
        pictures = select(Scoring.pictures_path).where(Scoring.pictures_path.is_not(None))
        known.update(path for path in session.scalars(pictures) if path)
    kinds = [kind for kind in store.kinds() if kind != QUARANTINE]
    strays = [(kind, path) for kind in kinds for path in store.files(kind) if path not in known]
    return [*_faulty(sessions, store, doubtful), *_orphans(sessions, store, strays)]


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


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that names a file; kind: that of the file."""

    table: type[Photograph | Artefact]
    key: int
    kind: str
    uid: str
    path: str
    digest: str
    purged: bool


def _rows(sessions: sessionmaker[Session]) -> Iterator[_Row]:
    """Yield every photograph and artefact; no transaction is open while the caller looks at one."""
    for table in _TABLES:
        last = 0
        while page := _page(sessions, table, table.id > last, limit=_PAGE):
            yield from page
            last = page[-1].key


def _page(
    sessions: sessionmaker[Session],
    table: type[Photograph | Artefact],
    wanted: ColumnElement[bool],
    *,
    limit: int | None = None,
) -> list[_Row]:
    kind = literal(PHOTOGRAPH) if table is Photograph else Artefact.kind
    columns = (table.id, kind, table.sop_instance_uid, table.path, table.sha256, table.purged_at.is_not(None))
    with reading(sessions) as session:
        found = session.execute(select(*columns).where(wanted).order_by(table.id).limit(limit))
        return [_Row(table, *row) for row in found]


def _faulty(sessions: sessionmaker[Session], store: FileStore, doubtful: Sequence[_Row]) -> Iterator[Finding]:
    """Yield those that are as they were, and whose file is still missing or damaged."""
    for table in _TABLES:
        for some in _pages([row for row in doubtful if row.table is table]):
            unchanged = set(_page(sessions, table, table.id.in_([row.key for row in some])))
            for row in some:
                fault = _fault(store, row) if row in unchanged else None
                if fault:
                    yield Finding(fault, row.kind, row.path, row.key, row.uid)


def _orphans(
    sessions: sessionmaker[Session], store: FileStore, strays: Sequence[tuple[str, str]]
) -> Iterator[Finding]:
    """Yield the files, of kind and path, that are there and named by no row still."""
    for some in _pages(strays):
        with reading(sessions) as session:
            paths = [path for _, path in some]
            queries = (
                *(select(t.path).where(t.path.in_(paths), t.purged_at.is_(None)) for t in _TABLES),
                select(Scoring.pictures_path).where(Scoring.pictures_path.in_(paths)),
            )
            named = {path for query in queries for path in session.scalars(query)}
        for kind, path in some:
            if path not in named and _is_there(store, path):
                yield Finding(Fault.ORPHAN_FILE, kind, path)


def _pages(things: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (things[start : start + _PAGE] for start in range(0, len(things), _PAGE))


def _is_there(store: FileStore, path: str) -> bool:
    try:
        store.read(path)
    except DamagedFileError:
        return True
    except FileNotFoundError:
        return False
    return True


def _fault(store: FileStore, row: _Row) -> Fault | None:
    try:
        content = store.read(row.path)
    except (FileNotFoundError, ValueError):
        return Fault.MISSING_FILE
    except DamagedFileError:
        return Fault.DAMAGED_FILE
    return None if hashlib.sha256(content).hexdigest() == row.digest else Fault.DAMAGED_FILE
