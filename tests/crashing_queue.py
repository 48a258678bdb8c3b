"""`python -m tests.crashing_queue FOLDER LOG STARTS`: a queue in which the photograph "bad" ends the process.

It submits the study "crashes" (photographs "fine" and "bad"), then "other", and ends when that is reported.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from dicom_node.stored_queue import system_database
from dicom_node.workflow import StudyQueue
from storage.studies import OpenStudy


def main(folder: Path, log: Path, starts: int) -> None:
    reported = threading.Event()

    def score(uid: str) -> None:
        _note(log, uid)
        if uid == "bad":
            signal.raise_signal(signal.SIGSEGV)  # as a decoder written in C would

    def report(uids: Sequence[str]) -> None:
        _note(log, f"report {' '.join(uids)}")
        reported.set()

    queue = StudyQueue(
        system_database=system_database(folder),
        setup_digest="ab" * 32,
        score_photograph=lambda uid, _following: score(uid),
        report_study=lambda uids, _reopened: report(uids),
        starts=starts,
    )
    queue.start()
    for name, photographs in (("crashes", ("fine", "bad")), ("other", ("good",))):
        if not queue.known([name]):
            queue.submit(name, OpenStudy("1.2", photographs))
    reported.wait(30)
    queue.stop(seconds=5)


def _note(log: Path, line: str) -> None:
    with log.open("a") as file:
        file.write(f"{line}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
