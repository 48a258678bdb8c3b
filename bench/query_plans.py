"""Which statements a piece of work issues on PostgreSQL, and how the server carries them out."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event

# Inserts are not explained: to run them again would violate what they have just made unique.
_EXPLAINED = re.compile(r"\s*(SELECT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """What was sent, with its parameters as the driver takes them."""

    text: str
    parameters: Any  # as the driver takes them: a mapping or a sequence


@dataclass(frozen=True, slots=True)
class Plan:
    """How a statement was carried out: a line a node, and the rows read by sequential scans, by table.

    pages: of 8 KB that it looked at, in memory or on disk: what it costs, whatever else the machine does.
    """

    statement: str
    lines: tuple[str, ...]
    scanned: dict[str, int]
    pages: int


@contextmanager
def statements(*, every_thread: bool = False) -> Iterator[list[Statement]]:
    """Collect what this thread sends to any database until the end of the block, each text once.

    every_thread: of this process, such as the queue's own.
    """
    caller = threading.get_ident()
    found: dict[str, Statement] = {}
    kept: list[Statement] = []

    def note(_c: object, _cursor: object, text: str, parameters: object, _x: object, many: bool) -> None:
        mine = every_thread or threading.get_ident() == caller
        if mine and not many and _EXPLAINED.match(text) and text not in found:
            found[text] = Statement(text, parameters)
            kept.append(found[text])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield kept
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def plans_of(engine: Engine, work: Callable[[], object], *, every_thread: bool = False) -> list[Plan]:
    """Do the work, then carry out each of its statements again, explained, and undo that."""
    with statements(every_thread=every_thread) as sent:
        work()
    return [_explain(engine, statement) for statement in sent if _has_tables(statement.text)]


def _has_tables(text: str) -> bool:
    return " FROM " in text.replace("\n", " ") or text.lstrip().upper().startswith("UPDATE")


def _explain(engine: Engine, statement: Statement) -> Plan:
    with engine.connect() as connection:
        explained = connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.text}", statement.parameters
        ).scalar_one()
        connection.rollback()
    lines: list[str] = []
    scanned: dict[str, int] = {}
    top = explained[0]["Plan"]
    _walk(top, 0, lines, scanned)
    pages = top.get("Shared Hit Blocks", 0) + top.get("Shared Read Blocks", 0)
    return Plan(" ".join(statement.text.split()), tuple(lines), scanned, pages)


def _walk(node: dict[str, Any], depth: int, lines: list[str], scanned: dict[str, int]) -> None:
    table, index = node.get("Relation Name"), node.get("Index Name")
    loops = int(node["Actual Loops"])
    rows = round(node["Actual Rows"] * loops)
    removed = round(node.get("Rows Removed by Filter", 0) * loops)
    where = "".join(f" {word} {name}" for word, name in (("on", table), ("by", index)) if name)
    lines.append(
        f"{'  ' * depth}{node['Node Type']}{where}: {rows} rows"
        f"{f', {removed} passed over' if removed else ''}, {node['Actual Total Time'] * loops:.2f} ms"
    )
    if node["Node Type"] == "Seq Scan" and table:
        scanned[table] = scanned.get(table, 0) + rows + removed
    for child in node.get("Plans", ()):
        _walk(child, depth + 1, lines, scanned)
