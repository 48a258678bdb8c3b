"""What a node does besides scoring, timed against how much it holds: studies, histories, a queue."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from pydicom.uid import generate_uid
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from bench.given_score import PROVENANCE, GivenScorer, given_score
from bench.noise_photographs import dicom_file, jpeg
from bench.received_rows import received_photograph
from dicom_node.scorer_loading import Scorer
from dicom_node.study_report import StudyReporter
from dicom_node.study_steps import StudySteps
from dicom_node.trigger import Trigger
from dicom_node.workflow import StudyQueue
from pipeline.result import plain
from reports.options import ReportOptions
from storage.database import open_database, sessions
from storage.history import patient_history
from storage.instances import InstanceStore, StoredFile
from storage.tables import Encounter, Patient, Photograph, Scoring

_PATIENT = "TEST-0001"
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_TIMES = 7


class Archive:
    """A node's database and file store in a folder, filled by the row."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.engine: Engine = open_database(f"sqlite:///{folder / 'facenorm.sqlite'}")
        self.sessions: sessionmaker[Session] = sessions(self.engine)
        self.store = InstanceStore(folder / "data")
        picture = np.full((480, 640, 3), 128, np.uint8)
        self._stream, self._size = jpeg(picture), picture.shape[:2]
        with self.sessions.begin() as session:
            session.add(Patient(id=1, patient_id=_PATIENT))

    def add_study(
        self, photographs: int, number: int, *, scored: bool = False, files: bool = True
    ) -> list[str]:
        """Add a received study, as received `number` days after the first; return its photographs' UIDs.

        scored: with scores, but without reports. files: with files, without which nothing can be reported.
        """
        study, uids = generate_uid(), [str(generate_uid()) for _ in range(photographs)]
        at = _BEGAN + timedelta(days=number)
        encounter = Encounter(
            patient_pk=1, study_instance_uid=study, study_date=f"{at:%Y%m%d}", last_received_at=at
        )
        with self.sessions.begin() as session:
            session.add(encounter)
            session.flush()
            rows = [received_photograph(encounter, uid, self._file(study, uid, files), at) for uid in uids]
            session.add_all(rows)
            session.flush()
            if scored:
                session.add_all(_scoring(row, at) for row in rows)
        return uids

    def steps(self, scorer: Scorer | None = None, options: ReportOptions | None = None) -> StudySteps:
        """Return the node's steps on this archive, without a scorer with scores that are given."""
        return StudySteps(
            sessions=self.sessions,
            store=self.store,
            scorer=scorer or GivenScorer(),
            reporter=StudyReporter(
                sessions=self.sessions,
                store=self.store,
                destinations=("ARCHIVE",),
                clock=lambda: datetime.now(UTC),
                options=options or ReportOptions(),
            ),
            clock=lambda: datetime.now(UTC),
            observe=lambda _seconds: None,
        )

    def _file(self, study: str, uid: str, files: bool) -> StoredFile:
        if not files:
            return StoredFile("photograph/none.dcm", "0" * 64, 1)
        return self.store.write(
            "photograph", uid, dicom_file(self._stream, *self._size, study, _PATIENT, uid)
        )


def study_seconds(folder: Path, photographs: int) -> dict[str, float]:
    """Return the seconds that a study of so many photographs takes besides scoring."""
    archive = Archive(folder)
    uids = archive.add_study(photographs, 0)
    steps = archive.steps()
    began = time.perf_counter()
    for uid in uids:
        steps.score_photograph(uid)
    each = (time.perf_counter() - began) / photographs
    report = _seconds(lambda: steps.report_study(uids))
    archive.engine.dispose()
    return {"keep_seconds_per_photograph": round(each, 4), "report_seconds": round(report, 4)}


def report_seconds(folder: Path, encounters: int) -> dict[str, float]:
    """Return the seconds to read a history and to report the next encounter, after so many encounters."""
    archive = Archive(folder)
    for number in range(encounters):
        archive.add_study(1, number, scored=True, files=False)
    steps = archive.steps()
    reports = []
    for number in range(_TIMES):
        (uid,) = archive.add_study(1, encounters + number)
        steps.score_photograph(uid)
        reports.append(_seconds(lambda: steps.report_study([uid])))  # noqa: B023 - called before the next
    queries = [_seconds(lambda: _read_history(archive)) for _ in range(_TIMES)]
    archive.engine.dispose()
    return {
        "query_seconds": round(statistics.median(queries), 5),
        "report_seconds": round(statistics.median(reports), 4),
    }


def queue_seconds(folder: Path, depths: tuple[int, ...]) -> list[dict[str, float]]:
    """Return the seconds of a sweep that finds nothing new, and of one that queues a new study, by depth."""
    archive = Archive(folder)
    release = threading.Event()
    queue = StudyQueue(
        system_database=folder / "dbos.sqlite",
        setup_digest=PROVENANCE.digest(),
        score_photograph=lambda _uid, _following: (release.wait(), None)[1],
        report_study=lambda _uids, _reopened: None,
    )
    trigger = Trigger(
        sessions=archive.sessions,
        workflows=queue,
        clock=lambda: datetime.now(UTC),
        quiet_seconds=0.0,
        setup_digest=PROVENANCE.digest(),
    )
    points, waiting = [], 1
    queue.start()
    try:
        archive.add_study(1, 0, files=False)
        trigger.sweep()  # imports and caches, which a running node has behind it
        for depth in sorted(depths):
            for number in range(waiting, depth):
                archive.add_study(1, number, files=False)
            waiting = max(waiting, depth)
            trigger.sweep()
            steady = [_seconds(trigger.sweep) for _ in range(_TIMES)]
            found = []
            for number in range(_TIMES):
                archive.add_study(1, waiting + number, files=False)
                found.append(_seconds(trigger.sweep))
            points.append(
                {
                    "n": waiting,
                    "sweep_seconds": round(statistics.median(steady), 4),
                    "pick_up_seconds": round(statistics.median(found), 4),
                }
            )
            waiting += _TIMES
    finally:
        release.set()
        queue.stop(seconds=5)
        archive.engine.dispose()
    return points


def _read_history(archive: Archive) -> None:
    with archive.sessions() as session:
        patient_history(session, _PATIENT)


def _scoring(photograph: Photograph, at: datetime) -> Scoring:
    return Scoring(
        photograph_pk=photograph.id,
        setup_digest=PROVENANCE.digest(),
        status="scored",
        score=4.0,
        uncertainty=0.5,
        generator=PROVENANCE.generator,
        regressor=PROVENANCE.regressor,
        seed=0,
        result=plain(given_score().score),
        created_at=at,
    )


def _seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began
