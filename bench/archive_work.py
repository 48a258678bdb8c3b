"""What node and workers do again and again on a filled archive, each as a function to be timed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from bench.filled_archive import DESTINATION, SENDER, Shape, fill, kept_from, patient_id
from bench.given_score import PROVENANCE
from dicom_node.housekeeping import LEASE, LEASE_SECONDS
from dicom_node.metrics import NodeCollector
from dicom_node.shared_queue import SharedQueue
from dicom_node.shared_trigger import SharedTrigger
from dicom_node.stored_queue import FAILED, UNFINISHED, prepare_queue, queue_client
from dicom_node.workflow import StudyQueue
from storage.commitments import forget_unreportable
from storage.database import open_database, sessions
from storage.deliveries import count_deliveries, count_failing, due, give_up_unknown
from storage.delivery_commitments import overdue, to_ask
from storage.encounter_scores import encounter_scores
from storage.history import patient_history
from storage.instances import StoredFile
from storage.intake import Received, record_photograph
from storage.leases import hold_lease
from storage.patients import find_patient
from storage.priors import patients_to_ask
from storage.recent_studies import recent_studies
from storage.retention import purge_photographs, purge_results
from storage.scorings import count_scorings
from storage.shared_commits import SharedCommits
from storage.studies import OpenStudy, quiet_studies
from storage.tables import Artefact, Patient, Photograph
from storage.workers import Scores, beat

LISTING = "unfinished and failed, in the queue"
PICK_UP = "from the queue to a worker"
NUMBERS = "numbers for /metrics"
_RETENTION, _PRIORS = "retention, nothing due", "patients whose priors are to be asked for"
INDEXED = (_RETENTION, _PRIORS)
"""What needs the indexes below."""
_NEW_INDEXES = ("ix_photograph_to_purge", "ix_artefact_to_purge", "ix_patient_to_ask")
_PATIENCE_SECONDS = 60.0


@dataclass
class Archive:
    """The filled database, with a queue whose scorings do nothing."""

    url: str
    shape: Shape
    present: int = 0
    engine: Engine = field(init=False)
    sessions: sessionmaker[Session] = field(init=False)
    shared: SharedQueue = field(init=False)
    numbers: count[int] = field(default_factory=count)
    begun: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Archive:
        """Open the database and the queue."""
        self.engine = open_database(self.url)
        self.sessions = sessions(self.engine)
        prepare_queue(self.url)
        self.shared, self.client = SharedQueue(self.url), queue_client(self.url)
        self.commits = SharedCommits(self.sessions)
        # Its own listing of the queue is measured beside it.
        self.collector = NodeCollector(
            sessions=self.sessions, workflows=dict, chore_failures=dict, with_workers=True
        )
        self.queue = StudyQueue(
            system_database=self.url,
            setup_digest=PROVENANCE.digest(),
            score_photograph=lambda _uid, _following: self.begun.set(),
            report_study=lambda _uids, _reopened: None,
            executor_id=f"bench-{os.getpid()}-{id(self)}",
        )
        with self.sessions.begin() as session:
            scores = Scores(self.queue.version, PROVENANCE.digest())
            beat(session, "bench", scores, now=datetime.now(UTC))
        self.trigger = SharedTrigger(
            sessions=self.sessions,
            queue=self.shared,
            clock=lambda: datetime.now(UTC),
            quiet_seconds=0.0,
            most_waiting=50,
        )
        self.queue.start()
        self.pick_up("bench-template")
        self._until_all_is_done()
        return self

    def __exit__(self, *_error: object) -> None:
        """Close both."""
        self.queue.stop(seconds=5)
        self.shared.close()
        self.client.destroy()
        self.engine.dispose()

    def grow(self, photographs: int) -> float:
        """Fill until there are so many; return the seconds that it took."""
        began = time.perf_counter()
        fill(self.engine, self.shape, self.present, photographs)
        self.present = photographs
        return time.perf_counter() - began

    def pick_up(self, workflow_id: str = "") -> None:
        """Put a study into the queue and wait until a worker has begun it."""
        self.begun.clear()
        study = OpenStudy(f"bench.{next(self.numbers)}", ("1",))
        self.shared.submit(workflow_id or f"{study.study_instance_uid}:bench", study, self.queue.version)
        if not self.begun.wait(_PATIENCE_SECONDS):
            raise TimeoutError("nobody took the study up")

    def receive(self) -> None:
        """Record one photograph, the first of a new study of a patient who is known."""
        number = next(self.numbers)
        uid, known = f"1.2.826.0.1.3680043.9.9.7.{number}.{os.getpid()}", 1 + number * 7919 % self.patients
        received = Received(
            patient_id=patient_id(known),
            issuer_of_patient_id="",
            study_instance_uid=f"{uid}.1",
            study_date=f"{datetime.now(UTC):%Y%m%d}",
            accession_number="",
            series_instance_uid=f"{uid}.2",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.77.1.4",
            sop_instance_uid=uid,
            transfer_syntax_uid="1.2.840.10008.1.2.4.50",
            calling_ae_title=SENDER,
            peer_address="127.0.0.1",
            received_at=datetime.now(UTC),
        )
        record_photograph(self.commits, received, StoredFile(f"photograph/{number}.dcm", "0" * 64, 6_000_000))

    @property
    def patients(self) -> int:
        """How many there are."""
        return self.present // self.shape.per_patient

    def reading(self, function: Callable[[Session], object]) -> Callable[[], None]:
        """Return what calls the function with a session and commits."""

        def call() -> None:
            with self.sessions.begin() as session:
                function(session)

        return call

    def work(self) -> dict[str, Callable[[], object]]:
        """Return what node and workers do again and again, by what it is called in the table."""
        now = datetime.now(UTC)
        patient, old = patient_id(self.patients // 2), kept_from(self.shape, self.present)
        nothing: Callable[[str], None] = lambda _path: None  # noqa: E731 - the type says what it is

        def scores(session: Session) -> object:
            return encounter_scores(session, find_patient(session, patient).id, PROVENANCE.digest())

        def retention(session: Session) -> None:
            purge_photographs(session, nothing, before=old, now=now, limit=500)
            purge_results(session, nothing, before=old, now=now, limit=500)

        def deliveries(session: Session) -> None:
            due(session, destination=DESTINATION, now=now, limit=50)
            to_ask(session, destination=DESTINATION, now=now, limit=50)
            overdue(session, destination=DESTINATION, now=now, limit=50)

        def sweep(session: Session) -> None:
            give_up_unknown(session, known=[DESTINATION])
            forget_unreportable(session, reachable=[SENDER], before=now - timedelta(days=1))

        reading = self.reading
        return {
            "history of one patient": reading(lambda s: patient_history(s, patient)),
            "a patient's scores for a report": reading(scores),
            "record one received photograph": self.receive,
            "quiet studies, in the tables": reading(lambda s: quiet_studies(s, now=now, quiet_seconds=0.0)),
            "the whole sweep, nothing new": self.trigger.sweep,
            "what is under way in the queue": self.shared.under_way,
            LISTING: self.shared.depth,
            "deliveries due or to be committed": reading(deliveries),
            "deliveries that fail": reading(count_failing),
            _RETENTION: reading(retention),
            "deliveries nobody can take": reading(sweep),
            "the lease of housekeeping": lambda: hold_lease(
                self.sessions, LEASE, "bench", now=datetime.now(UTC), seconds=LEASE_SECONDS
            ),
            _PRIORS: reading(patients_to_ask),
            "recent studies of the status page": reading(lambda s: recent_studies(s, limit=25)),
            NUMBERS: lambda: list(self.collector.collect()),
            PICK_UP: self.pick_up,
        }

    def every_number_counted(self) -> None:
        """Count every row for /metrics, as the node did before large archives."""
        with self.sessions() as session:
            session.query(Photograph).count()
            count_scorings(session)
            count_deliveries(session)

    def all_states_at_once(self) -> None:
        """List what is unfinished or failed in one statement, as the node did before large archives."""
        self.client.list_workflows(status=[*UNFINISHED, *FAILED], load_input=False, load_output=False)

    def settle(self) -> None:
        """Let a report cover what `receive` added: such photographs would be swept up for ever."""
        with self.sessions.begin() as session:
            session.execute(text("UPDATE photograph SET report_pk = 1 WHERE report_pk IS NULL"))

    def set_new_indexes(self, *, there: bool) -> None:
        """Make or drop the indexes that large archives need."""
        for table in (Photograph, Artefact, Patient):
            for index in table.__table__.indexes:  # type: ignore[attr-defined] # a Table has them
                if index.name in _NEW_INDEXES:
                    (index.create if there else index.drop)(self.engine)

    def _until_all_is_done(self) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while any(self.shared.depth().values()):
            if time.monotonic() > deadline:
                raise TimeoutError("the queue did not come to rest")
            time.sleep(0.1)
