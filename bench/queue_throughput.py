"""Photographs a second with 1, 2, 4 and 8 workers on one queue, each scoring being a fixed waiting time.

    python -m bench.queue_throughput [--workers 1 2 4 8] [--seconds 1] [--each 12] [--record FILE]

Real `facenorm worker` processes on one PostgreSQL, which syncs; studies of one photograph, which is the most
work for the queue; each is put in by the real trigger, scored (waited for), and reported. The ratio to one
worker tells how far the queue, and not the cores, holds workers up: a waiting time needs none. What a worker
does besides (steps of the workflow, a report of a rejected photograph) does need them, and shows as soon as
they are short.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from pydicom.uid import generate_uid
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from bench.durable_postgresql import durable_postgresql
from bench.noise_photographs import dicom_file, jpeg
from bench.received_rows import add_encounter, received_photograph
from bench.table import show
from dicom_node.data_folder import FolderLock
from dicom_node.demo.loopback import LOOPBACK, free_port, get_json
from dicom_node.shared_queue import SharedQueue
from dicom_node.shared_trigger import SharedTrigger
from dicom_node.stored_queue import prepare_queue
from storage.database import open_database, sessions
from storage.instances import InstanceStore
from storage.tables import Scoring
from storage.workers import count_workers

WORKERS = (1, 2, 4, 8)
_READY_SECONDS = 240.0
_STOP_SECONDS = 60.0
_SIDE = (48, 64)


def measure(
    url: str, folder: Path, *, workers: Sequence[int] = WORKERS, seconds: float = 1.0, each: int = 12
) -> dict[str, Any]:
    """Return photographs a second by number of workers, with `each` photographs a worker.

    url: of an empty PostgreSQL database. folder: where node and workers keep their files.
    """
    engine = open_database(url)
    prepare_queue(url)
    shared = SharedQueue(url)
    config = _settings(folder, url)
    lock = FolderLock(folder / "data")  # a worker wants a folder on which a node has worked
    made = sessions(engine)
    points = []
    try:
        with _starting(config, seconds) as start:
            for number in sorted(workers):
                start(number, made)
                taken = _score(made, shared, InstanceStore(folder / "data"), number * each)
                rate = number * each / taken
                load = round(os.getloadavg()[0], 1)
                points.append({"workers": number, "photographs_per_second": round(rate, 3), "load": load})
    finally:
        lock.release()
        shared.close()
        engine.dispose()
    one = points[0]["photographs_per_second"] / points[0]["workers"]
    for point in points:
        point["ratio_to_one"] = round(point["photographs_per_second"] / one, 2)
    return {
        "seconds_per_scoring": seconds,
        "seconds_per_photograph": round(1 / one, 3),
        "photographs_per_worker": each,
        "points": points,
    }


def rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of the table."""
    return [
        (f"workers: {p['workers']}", f"{p['photographs_per_second']:.2f}/s, x {p['ratio_to_one']:.2f}")
        for p in record["points"]
    ]


@contextmanager
def _starting(config: Path, seconds: float) -> Iterator[Callable[[int, sessionmaker[Session]], None]]:
    """Give what starts workers until there are so many, and end them all in the end."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(number: int, made: sessionmaker[Session]) -> None:
        ports = [free_port() for _ in range(number - len(processes))]
        for port in ports:
            command = [sys.executable, "-m", "bench.waiting_worker", str(config), str(seconds), str(port)]
            processes.append(subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT))
        _wait(lambda: all((get_json(port, "/health") or {}).get("ready") for port in ports), _READY_SECONDS)
        with made() as session:
            living = count_workers(session)
        if living["alive"] != number or any(process.poll() is not None for process in processes):
            raise RuntimeError(f"not all workers live; see {output.name}")

    with (config.parent / "workers.log").open("ab") as output:
        try:
            yield start
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                try:
                    process.wait(timeout=_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(timeout=10)


def _score(made: sessionmaker[Session], shared: SharedQueue, store: InstanceStore, count: int) -> float:
    """Add so many studies and return the seconds from their start until the last one is scored."""
    _add_studies(made, store, count)
    trigger = SharedTrigger(sessions=made, queue=shared, clock=lambda: datetime.now(UTC), quiet_seconds=0.0)
    with made() as session:
        wanted = (session.scalar(select(func.count()).select_from(Scoring)) or 0) + count
    began = datetime.now(UTC)
    trigger.sweep()

    def scored() -> int:
        with made() as session:
            return session.scalar(select(func.count()).select_from(Scoring)) or 0

    _wait(lambda: scored() >= wanted, _READY_SECONDS)
    with made() as session:
        last = session.scalar(select(func.max(Scoring.created_at)))
    _wait(lambda: not any(shared.depth().values()), _READY_SECONDS)  # the reports
    assert last is not None
    return (last - began).total_seconds()


def _add_studies(made: sessionmaker[Session], store: InstanceStore, count: int) -> None:
    stream, now = jpeg(np.full((*_SIDE, 3), 128, np.uint8)), datetime.now(UTC)
    with made.begin() as session:
        for _ in range(count):
            study, uid = str(generate_uid()), str(generate_uid())
            patient_id = f"TEST-{uid[-12:]}"
            file = store.write("photograph", uid, dicom_file(stream, *_SIDE, study, patient_id, uid))
            encounter = add_encounter(
                session, patient_id=patient_id, study=study, at=now, study_date="20260102"
            )
            session.add(received_photograph(encounter, uid, file, now))


def _wait(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not done within {seconds:g} s")
        time.sleep(0.1)


def _settings(folder: Path, url: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "facenorm.toml"
    config.write_text(
        f"""
[data]
folder = {json.dumps(str(folder / "data"))}
database_url = {json.dumps(url)}
minimum_free_megabytes = 0
[status]
host = "{LOOPBACK}"
[log]
level = "warning"
""",
        "utf-8",
    )
    return config


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--seconds", type=float, default=1.0, help="that one scoring takes")
    parser.add_argument("--each", type=int, default=12, help="photographs a worker")
    parser.add_argument("--record", type=Path, help="write the figures into this JSON file")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with durable_postgresql() as url, tempfile.TemporaryDirectory(prefix="facenorm-bench-") as name:
        record = measure(url, Path(name), workers=options.workers, seconds=options.seconds, each=options.each)
    show("Workers on one queue", rows(record))
    if options.record:
        options.record.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
