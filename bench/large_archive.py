"""What a photograph costs the database when a million of them are in it: seconds and query plans.

    python -m bench.large_archive [--photographs 1000000] [--patients 100000] [--record FILE] [--plans FILE]

A PostgreSQL of its own is filled in steps of ten (`bench.filled_archive`), and at each of them the statements
are timed that node and workers issue again and again, through the functions that issue them. What is timed
commits, and the server syncs. Beside the milliseconds, the least of several, stand the pages of 8 KB that the
statements look at by their plans, which do not depend on what else the machine does. `scanned` names tables
that a plan reads from end to end. At the last step some is done again as it was before: without the indexes
that such archives need, and with one statement for all states of workflows.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import text

from bench.archive_work import INDEXED, LISTING, NUMBERS, PICK_UP, Archive
from bench.durable_postgresql import durable_postgresql
from bench.filled_archive import Shape
from bench.query_plans import Plan, plans_of
from bench.table import show

_log = structlog.get_logger(__name__)

_TIMES = 15
# A scan of fewer rows than that is of a table that does not grow, or of one page.
_FEW_ROWS = 200


def measure(
    url: str, *, photographs: int = 1_000_000, patients: int = 100_000, steps: int = 3, times: int = _TIMES
) -> dict[str, Any]:
    """Return seconds by number of photographs, and the plans at the last, in the empty database at `url`."""
    per_patient = max(2, photographs // patients // 2 * 2)
    sizes = [photographs // 10**step // per_patient * per_patient for step in reversed(range(steps))]
    points: list[dict[str, Any]] = []
    with Archive(url, Shape(photographs, per_patient)) as archive:
        for size in sizes:
            _log.info("filled", photographs=size, seconds=round(archive.grow(size), 1))
            figures = {name: _milliseconds(work, times) for name, work in archive.work().items()}
            archive.settle()
            plans = {name: _plans(archive, name, work) for name, work in archive.work().items()}
            archive.settle()
            pages = {name: _pages(found) for name, found in plans.items()}
            points.append(
                {"photographs": size, "patients": archive.patients, "milliseconds": figures, "pages": pages}
            )
            _log.info("measured", photographs=size, milliseconds=figures, pages=pages)
        archive.set_new_indexes(there=False)
        before = {name: _as_before(archive, archive.work()[name], times) for name in INDEXED}
        before[NUMBERS] = _as_before(archive, archive.every_number_counted, times)
        before[LISTING] = _as_before(archive, archive.all_states_at_once, times)
        archive.set_new_indexes(there=True)
        with archive.sessions() as session:
            size_bytes = session.scalar(text("SELECT pg_database_size(current_database())"))
    return {
        "points": points,
        "as_before": before,
        "scanned": {name: _scanned(found) for name, found in plans.items()},
        "database_bytes": size_bytes,
        "load_average": round(os.getloadavg()[0], 1),
        "plans": {name: [[one.statement, *one.lines] for one in found] for name, found in plans.items()},
    }


def _as_before(archive: Archive, work: Callable[[], object], times: int) -> dict[str, Any]:
    plans = plans_of(archive.engine, work)
    return {"milliseconds": _milliseconds(work, times), "pages": _pages(plans), "scanned": _scanned(plans)}


def _pages(plans: Sequence[Plan]) -> int:
    return sum(plan.pages for plan in plans)


def _plans(archive: Archive, name: str, work: Callable[[], object]) -> list[Plan]:
    return plans_of(archive.engine, work, every_thread=name == PICK_UP)


def _scanned(plans: Sequence[Plan]) -> dict[str, int]:
    """Return the rows that were read from end to end, by table, where they are many."""
    found: dict[str, int] = {}
    for plan in plans:
        for table, rows in plan.scanned.items():
            found[table] = max(found.get(table, 0), rows)
    return {table: rows for table, rows in found.items() if rows > _FEW_ROWS}


def _milliseconds(work: Callable[[], object], times: int) -> float:
    work()  # fills caches, which a running node has behind it
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    # The least, not the median: what other jobs of the machine add is no cost of the statement.
    return round(1000 * min(taken), 2)


def rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of the table: milliseconds and pages at each number of photographs."""
    points = record["points"]
    heading = ("photographs", " / ".join(f"{point['photographs']:,}" for point in points))
    lines = [heading]
    for name in points[0]["milliseconds"]:
        taken = " / ".join(f"{point['milliseconds'][name]:g}" for point in points)
        pages = " / ".join(str(point["pages"][name]) for point in points)
        lines.append((name, f"{taken} ms; {pages} pages"))
    return lines


def main() -> None:
    """Fill, measure, print, and write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photographs", type=int, default=1_000_000)
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--record", type=Path, help="write the figures into this JSON file")
    parser.add_argument("--plans", type=Path, help="write the query plans into this text file")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with durable_postgresql() as url:
        record = measure(url, photographs=options.photographs, patients=options.patients)
    plans = record.pop("plans")
    show("A large archive", rows(record))
    if options.record:
        options.record.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    if options.plans:
        options.plans.write_text(plans_text(plans), "utf-8")


def plans_text(plans: dict[str, list[list[str]]]) -> str:
    """Return the plans for people."""
    parts = []
    for name, found in plans.items():
        parts.append(f"== {name}\n")
        parts += [
            f"{statement}\n" + "".join(f"    {line}\n" for line in lines) for statement, *lines in found
        ]
    return "\n".join(parts)


if __name__ == "__main__":
    main()
