"""Everything that one database holds, copied into another, empty one: from SQLite to PostgreSQL.

Keys stay as they are, so that rows go on naming each other, and files are named as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Table, func, select, text

from storage.audit import Event, add_audit_event
from storage.tables import Base, HandBack, Lease, Worker

# Who works at the moment is of the one installation only.
_OF_PROCESSES = {Lease.__table__, Worker.__table__, HandBack.__table__}
_ROWS = 500


class NotEmptyError(Exception):
    """The target holds something already; the text says what, in numbers."""


def copy_everything(source: Engine, target: Engine, *, at: datetime, actor: str) -> dict[str, int]:
    """Copy every row in one transaction; return table -> number of rows, for every table.

    Both must be migrated; nobody may write into the source meanwhile. The target's audit says that it was
    done.

    Raises:
        NotEmptyError: the target has rows; it is left as it was.
        sqlalchemy.exc.SQLAlchemyError: a row does not fit, or a database failed; nothing was copied.

    """
    with source.connect() as reading, target.begin() as writing:
        _refuse_rows(writing)
        copied = {table.name: _copy(reading, writing, table) for table in moved_tables()}
        for table in moved_tables():
            _continue_after(writing, table)
        add_audit_event(writing, Event.IMPORTED, at=at, actor=actor, detail={"rows": sum(copied.values())})
    return copied


def moved_tables() -> list[Table]:
    """Return the tables that are copied, those that others refer to first."""
    return [table for table in Base.metadata.sorted_tables if table not in _OF_PROCESSES]


def _refuse_rows(target: Connection) -> None:
    counts = {table.name: _count(target, table) for table in moved_tables()}
    found = {name: number for name, number in counts.items() if number}
    if found:
        raise NotEmptyError(", ".join(f"{number} in {name}" for name, number in found.items()))


def _copy(source: Connection, target: Connection, table: Table) -> int:
    expected = _count(source, table)
    copied = 0
    for rows in _batches(source, table):
        target.execute(table.insert(), rows)
        copied += len(rows)
    if copied != expected or _count(target, table) != expected:
        raise RuntimeError(f"{table.name}: {copied} of {expected} rows came over")
    return copied


def _batches(source: Connection, table: Table) -> Iterator[list[Mapping[str, Any]]]:
    # By key: an object is copied after the one that it succeeds.
    result = source.execute(select(table).order_by(*table.primary_key)).mappings()
    while rows := result.fetchmany(_ROWS):
        yield [dict(row) for row in rows]


def _continue_after(target: Connection, table: Table) -> None:
    """Let new keys begin after those that were copied, which took none of the sequence."""
    last = target.scalar(select(func.max(table.c.id))) or 0
    target.execute(
        text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :next, false)"),
        {"name": table.name, "next": last + 1},
    )


def _count(connection: Connection, table: Table) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0
