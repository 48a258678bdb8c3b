"""The durable queue of studies: DBOS on a SQLite file of its own, or beside our tables in PostgreSQL.

Execution, retry and resumption are DBOS's. What a step leaves behind is in our own tables, and the
steps look there first: a step that was killed between its commit and DBOS's note of it does nothing
when it is run again.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog
from dbos import DBOS, DBOSClient, DBOSConfig, SetEnqueueOptions, SetWorkflowID, WorkflowStatus

from dicom_node.listed_workflows import in_states
from dicom_node.logs import innermost
from dicom_node.outage import outlast
from storage.database import postgresql_url
from storage.studies import OpenStudy

_log = structlog.get_logger(__name__)

APPLICATION = "facenorm"
QUEUE, _REPORTS = "scoring", "reports"
WORKFLOW, _REPORT_WORKFLOW = "score_study", "report_study"
# Makes the id of a study's second workflow from that of its first.
REPORT = ":report"
# Names the order of the steps: raise it whenever a workflow changes, so that no workflow is
# resumed by code that would take its finished steps for others.
_STEPS_REVISION = "2"
# One node, one executor: what a killed process left pending must look like ours after the restart.
_EXECUTOR = "node"
# Of a worker's DBOS: two queues, two workflows, the listener and the recovery.
_POOL_SIZE = 8
# PostgreSQL bears more questions than the one disk of a small node, and a GPU should not wait.
_POLL_SECONDS, _SHARED_POLL_SECONDS = 0.5, 0.2

UNFINISHED = ("DELAYED", "ENQUEUED", "PENDING")
FAILED = ("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")


class StepFailed(Exception):  # noqa: N818 - it is stored and shown under this name
    """A step failed for a reason that lies with us; the text is the class of the error and no more."""


class StudyQueue:
    """One study at a time: a step per photograph; then the report, while the next study is scored.

    The report is a workflow of its own, which the first one enqueues as its last act. DBOS is one per
    process, so only one queue may be started at a time.
    """

    def __init__(
        self,
        *,
        system_database: Path | str,
        setup_digest: str,
        score_photograph: Callable[[str], None],
        report_study: Callable[[Sequence[str]], None],
        attempts: int = 3,
        retry_seconds: float = 5.0,
        starts: int = 10,
        executor_id: str | None = None,
    ) -> None:
        """Take the two steps; both get SOP Instance UIDs and must be harmless when run again.

        system_database: a SQLite file, or the URL of a PostgreSQL database. executor_id: where other
        processes take studies from it, too, a name that none of them has, now or later.

        attempts: how often a step that raises is tried, `retry_seconds` (doubling) apart. starts: how often
        a study is taken up whose process ended in the midst of it; a photograph on which a decoder crashes
        must not end the node for ever. Then the study has failed, until `forget_failed_workflows`.
        """
        self._system_database = system_database
        self.version = f"{_STEPS_REVISION}-{setup_digest[:12]}"
        self._executor_id = executor_id or _EXECUTOR
        self._shared = executor_id is not None
        self._score_photograph = score_photograph
        self._report_study = report_study
        self._attempts = attempts
        self._retry_seconds = retry_seconds
        self._starts = starts
        self._counting = threading.Lock()
        self._running = 0
        self._stopped = False
        self._workflow: Callable[[Sequence[str]], None] | None = None

    def start(self) -> None:
        """Open the queue, resume what was under way, and drop what another setup left unfinished.

        Of a shared queue nothing is dropped: another process may work under that setup. There the elected
        one does it (`dicom_node.absent_workers`), and resumes what others left under way.

        A workflow belongs to one order of steps and one scoring setup. After an upgrade DBOS would
        leave the older ones stranded for ever: they are deleted here, and the next sweep submits
        their studies anew, because the database still says that no report covers them.
        """
        _silence()
        DBOS(
            config=DBOSConfig(
                name=APPLICATION,
                system_database_url=system_database_url(self._system_database),
                application_version=self.version,
                executor_id=self._executor_id,
                sys_db_pool_size=_POOL_SIZE,
                log_level="ERROR",
                enable_otlp=False,
            )
        )
        self._workflow = self._declare()
        DBOS.launch()
        for queue in (QUEUE, _REPORTS):
            DBOS.register_queue(
                queue,
                global_concurrency=None if self._shared else 1,
                worker_concurrency=1,
                polling_interval_sec=_SHARED_POLL_SECONDS if self._shared else _POLL_SECONDS,
                on_conflict="always_update",
            )
        if not self._shared:
            self._drop_stranded()

    def _drop_stranded(self) -> None:
        stranded = [
            status.workflow_id
            for status in in_states(DBOS.list_workflows, *UNFINISHED)
            if status.app_version != self.version
        ]
        if stranded:
            DBOS.delete_workflows(whole(stranded))
            _log.info("workflows of another setup start anew", count=len(stranded))

    def stop(self, *, seconds: int) -> bool:
        """Take up nothing more, wait up to `seconds` for what runs; return whether all came to rest.

        A step that still runs is lost with the process and run again at the next start.
        """
        DBOS.destroy(workflow_completion_timeout_sec=seconds, destroy_registry=True)
        self._stopped = True
        return self._running == 0

    def submit(self, workflow_id: str, study: OpenStudy) -> None:
        """Enqueue the study's workflow unless one with this id exists."""
        if self._workflow is None:
            raise RuntimeError("the queue was not started")
        with SetWorkflowID(workflow_id), SetEnqueueOptions(priority=int(study.urgency)):
            DBOS.enqueue_workflow(QUEUE, self._workflow, list(study.photographs))
        _log.info("study queued", workflow_id=workflow_id, photographs=len(study.photographs))

    def known(self, workflow_ids: Sequence[str]) -> set[str]:
        """Return those ids that have a workflow already, in whatever state."""
        if not workflow_ids:
            return set()
        found = DBOS.list_workflows(workflow_ids=list(workflow_ids), load_input=False, load_output=False)
        return {status.workflow_id for status in found}

    def unfinished(self, workflow_ids: Sequence[str]) -> set[str]:
        """Return those ids whose workflow waits or runs."""
        wanted = set(workflow_ids)
        found = in_states(DBOS.list_workflows, *UNFINISHED)
        return {status.workflow_id for status in found if status.workflow_id in wanted}

    def depth(self) -> dict[str, int]:
        """Return DBOS's state -> number of unfinished and failed workflows."""
        return depth_of(in_states(DBOS.list_workflows, *UNFINISHED, *FAILED))

    def _declare(self) -> Callable[[Sequence[str]], None]:
        step = DBOS.step(
            retries_allowed=True, max_attempts=self._attempts, interval_seconds=self._retry_seconds
        )

        def score_photograph(photograph: str) -> None:
            with self._guarded("score_photograph"):
                outlast(lambda: self._score_photograph(photograph))

        def report_study(photographs: Sequence[str]) -> None:
            with self._guarded("report_study"):
                outlast(lambda: self._report_study(photographs))

        score_step, report_step = step(score_photograph), step(report_study)

        @DBOS.workflow(name=_REPORT_WORKFLOW, max_recovery_attempts=self._starts - 1)
        def report_workflow(photographs: Sequence[str]) -> None:
            report_step(photographs)

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=self._starts - 1)
        def score_study(photographs: Sequence[str]) -> None:
            for photograph in photographs:
                score_step(photograph)
            with SetWorkflowID(f"{DBOS.workflow_id}{REPORT}"):
                DBOS.enqueue_workflow(_REPORTS, report_workflow, photographs)

        return score_study

    @contextmanager
    def _guarded(self, step: str) -> Iterator[None]:
        """Turn what a step raises into a `StepFailed`, since DBOS stores the error and its text."""
        with self._counting:
            self._running += 1
        try:
            yield
        except Exception as error:
            kind = type(error).__name__
            # What is cut off by our own stop is no failure: the next start runs it again.
            if not self._stopped:
                _log.error("step failed", step=step, error=kind, where=innermost(error.__traceback__))
            raise StepFailed(kind) from None
        finally:
            with self._counting:
                self._running -= 1


def depth_of(found: Sequence[WorkflowStatus]) -> dict[str, int]:
    """Return state -> number of workflows, those that are always shown included."""
    return dict.fromkeys(("ENQUEUED", "PENDING", "ERROR"), 0) | Counter(s.status for s in found)


def workflow_states(system_database: Path | str) -> list[tuple[str, str]]:
    """Return (workflow id, DBOS's state) of what is unfinished or failed, from outside the node."""
    client = queue_client(system_database)
    try:
        found = in_states(client.list_workflows, *UNFINISHED, *FAILED)
        return [(status.workflow_id, status.status) for status in found]
    finally:
        client.destroy()


def forget_failed_workflows(system_database: Path | str) -> list[str]:
    """Delete the failed workflows, from outside the node, and return the ids of their studies' first ones.

    The running node's next sweep submits their studies anew; photographs that were scored stay so.
    """
    client = queue_client(system_database)
    try:
        failed = in_states(client.list_workflows, *FAILED)
        identifiers = [status.workflow_id for status in failed]
        if identifiers:
            client.delete_workflows(whole(identifiers))
        return [identifier.removesuffix(REPORT) for identifier in identifiers]
    finally:
        client.destroy()


def forget_studies(system_database: Path | str, studies: Sequence[str]) -> None:
    """Delete every workflow of these studies (UIDs), in whatever state, from outside the node."""
    client = queue_client(system_database)
    try:
        for study in studies:
            found = client.list_workflows(workflow_id_prefix=f"{study}:", load_input=False, load_output=False)
            if found:
                client.delete_workflows([status.workflow_id for status in found])
    finally:
        client.destroy()


def whole(identifiers: Sequence[str]) -> list[str]:
    """Return the ids and, for reports, those of the workflows before: a study starts anew as a whole."""
    return sorted({*identifiers, *(identifier.removesuffix(REPORT) for identifier in identifiers)})


def system_database(data_folder: Path) -> Path:
    """Return the path of the SQLite file in which DBOS keeps its queue."""
    return data_folder.absolute() / "dbos.sqlite"


def system_database_url(place: Path | str) -> str:
    """Return the URL under which DBOS opens its SQLite file, or its tables in a PostgreSQL database."""
    return f"sqlite:///{place.absolute()}" if isinstance(place, Path) else postgresql_url(place)


def queue_client(system_database: Path | str) -> DBOSClient:
    """Return what looks into the queue, and puts studies into it, without running any; to be destroyed."""
    _silence()
    return DBOSClient(
        system_database_url=system_database_url(system_database),
        application_name=APPLICATION,
        retry_connection_errors=False,
    )


def prepare_queue(system_database: str) -> None:
    """Create or upgrade DBOS's tables in a PostgreSQL database; harmless when several do so at once."""
    _silence()
    DBOS.migrate(system_database_url(system_database))


def _silence() -> None:
    # DBOS prints to the console an advertisement, and tracebacks whose text may quote a dataset; without
    # a handler it would install that one. Its errors go on to our own logs, which leave the text out.
    logger = logging.getLogger("dbos")
    logger.handlers = [logging.NullHandler()]
    logger.propagate = True
