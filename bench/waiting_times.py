"""How long today's clinic waits while another sender imports: with the order of the queue, and without.

    python -m bench.waiting_times [--import 60] [--clinic 8] [--seconds 0.3]

One worker whose scoring takes a fixed waiting time, the real queue and trigger on SQLite. At the beginning
one sender's studies are all there; the clinic's come one by one. A study's wait is from when it is quiet to
when its scoring begins. It measures the queue, not the cores.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog
from sqlalchemy.orm import Session, sessionmaker

from bench.received_rows import add_encounter, received_photograph
from bench.table import show
from dicom_node.settings import Settings
from dicom_node.stored_queue import system_database
from dicom_node.trigger import Trigger
from dicom_node.workflow import StudyQueue
from storage.database import open_database, sessions
from storage.instances import StoredFile
from storage.studies import OpenStudy
from storage.urgency import Urgency

_CLINIC, _IMPORT = "CLINIC", "IMPORT"
_LONG_AGO = "20160501"
_EVERY_SECONDS = 2.0
_SETUP = "0" * 64
_PATIENCE_SECONDS = 600.0
_NO_FILE = StoredFile("", "", 0)


@dataclass
class _Waits:
    """When each photograph was quiet, and when its scoring began; seconds of one clock."""

    seconds: float
    quiet: dict[str, float] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)

    def score(self, uid: str, _following: Sequence[str]) -> None:
        self.begun[uid] = time.monotonic()
        time.sleep(self.seconds)

    def of(self, sender: str) -> list[float]:
        return [self.begun[uid] - at for uid, at in self.quiet.items() if uid.startswith(sender)]


class _InOrderOfArrival(StudyQueue):
    """The queue as it would be without urgency."""

    def submit(self, workflow_id: str, study: OpenStudy) -> None:
        super().submit(workflow_id, replace(study, urgency=Urgency.UNDATED))


def measure(
    *, old: bool, ordered: bool, most_waiting: int, imported: int, clinic: int, seconds: float
) -> list[float]:
    """Return the waits of the clinic's studies, in seconds.

    old: the import is of years ago, not of today. ordered: by urgency. most_waiting: see `Trigger`.
    """
    waits = _Waits(seconds)
    with tempfile.TemporaryDirectory() as name:
        engine = open_database(f"sqlite:///{Path(name) / 'facenorm.sqlite'}")
        made = sessions(engine)
        queue = (StudyQueue if ordered else _InOrderOfArrival)(
            system_database=system_database(Path(name)),
            setup_digest=_SETUP,
            score_photograph=waits.score,
            report_study=lambda _uids, _reopened: None,
        )
        trigger = Trigger(
            sessions=made,
            workflows=queue,
            clock=lambda: datetime.now(UTC),
            quiet_seconds=0.0,
            setup_digest=_SETUP,
            most_waiting=most_waiting,
        )
        today = f"{datetime.now(UTC):%Y%m%d}"
        queue.start()
        ended = threading.Event()
        sweeping = threading.Thread(target=_sweep, args=(trigger, ended))
        try:
            _add(made, waits, _IMPORT, range(imported), _LONG_AGO if old else today)
            sweeping.start()
            for number in range(clinic):
                time.sleep(_EVERY_SECONDS)
                _add(made, waits, _CLINIC, [number], today)
            _wait_for(waits, clinic)
        finally:
            ended.set()
            sweeping.join()
            queue.stop(seconds=5)
            engine.dispose()
    return waits.of(_CLINIC)


def _sweep(trigger: Trigger, ended: threading.Event) -> None:
    while not ended.wait(1.0):
        trigger.sweep()


def _add(
    made: sessionmaker[Session], waits: _Waits, sender: str, numbers: Sequence[int] | range, date: str
) -> None:
    """Add a study of one photograph for each number, as the receiver would."""
    now = datetime.now(UTC)
    with made.begin() as session:
        for number in numbers:
            uid = f"{sender}.{number}"
            encounter = add_encounter(session, patient_id=uid, study=f"S.{uid}", at=now, study_date=date)
            session.add(received_photograph(encounter, uid, _NO_FILE, now, sender=sender))
            waits.quiet[uid] = time.monotonic()


def _wait_for(waits: _Waits, clinic: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while sum(uid.startswith(_CLINIC) for uid in waits.begun) < clinic:
        if time.monotonic() > deadline:
            raise TimeoutError("the clinic's studies were not scored")
        time.sleep(0.1)
    waits.quiet = {uid: at for uid, at in waits.quiet.items() if uid in waits.begun}


def main() -> None:
    """Measure all cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--import", dest="imported", type=int, default=60, help="studies of the other sender")
    parser.add_argument("--clinic", type=int, default=8, help="studies of the clinic, two seconds apart")
    parser.add_argument("--seconds", type=float, default=0.3, help="that one scoring takes")
    given = vars(parser.parse_args())
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    shipped = Settings().trigger.most_waiting_per_sender
    cases = [
        ("old studies imported, in order of arrival", True, False, 0),
        ("old studies imported, today's first", True, True, shipped),
        ("today's studies of another sender, in order of arrival", False, False, 0),
        ("today's studies of another sender, at most 5 of it waiting", False, True, 5),
    ]
    rows = []
    for title, old, ordered, most in cases:
        waits = measure(old=old, ordered=ordered, most_waiting=most, **given)
        rows.append((title, f"median {statistics.median(waits):.1f} s, longest {max(waits):.1f} s"))
    show("How long the clinic waits", rows)


if __name__ == "__main__":
    main()
