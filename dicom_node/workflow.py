"""The durable queue of studies: DBOS on a SQLite file of its own, or beside our tables in PostgreSQL.

Execution, retry and resumption are DBOS's. What a step leaves behind is in our own tables, and the
steps look there first: a step that was killed between its commit and DBOS's note of it does nothing
when it is run again.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from dbos import DBOS, DBOSConfig, Queue, SetEnqueueOptions, SetWorkflowID

from dicom_node.listed_workflows import in_states, of_ids
from dicom_node.logs import innermost
from dicom_node.outage import outlast
from dicom_node.stored_queue import (
    APPLICATION,
    FAILED,
    QUEUE,
    REPORT,
    REPORT_WORKFLOW,
    REPORTS,
    UNFINISHED,
    WORKFLOW,
    depth_of,
    silence,
    system_database_url,
    whole,
)
from dicom_node.trigger import times_reopened
from storage.studies import OpenStudy

_log = structlog.get_logger(__name__)

# Names the order of the steps: raise it whenever a workflow changes, so that no workflow is
# resumed by code that would take its finished steps for others.
_STEPS_REVISION = "2"
# One node, one executor: what a killed process left pending must look like ours after the restart.
_EXECUTOR = "node"
# Of a worker's DBOS: two queues, two workflows, the listener and the recovery.
_POOL_SIZE = 8
# Enough to fill the largest batches with studies of two photographs; further ones are for other workers.
MOST_STUDIES = 8
# PostgreSQL bears more questions than the one disk of a small node, and a GPU should not wait.
_POLL_SECONDS, _SHARED_POLL_SECONDS = 0.5, 0.2


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
        score_photograph: Callable[[str, Sequence[str]], None],
        report_study: Callable[[Sequence[str], int], None],
        attempts: int = 3,
        retry_seconds: float = 5.0,
        starts: int = 10,
        studies_at_once: Callable[[], int] = lambda: 1,
        executor_id: str | None = None,
    ) -> None:
        """Take the two steps; both get SOP Instance UIDs and must be harmless when run again.

        score_photograph: gets the photograph, and those of the study that follow it. report_study: gets all,
        and how often the study had been asked for anew. studies_at_once: asked again and again; more than
        one, up to `MOST_STUDIES`, where their photographs are scored together.

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
        self._studies_at_once = studies_at_once
        self._counting = threading.Lock()
        self._bodies: Counter[str] = Counter()
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
        silence()
        dbos = DBOS(
            config=DBOSConfig(
                name=APPLICATION,
                system_database_url=system_database_url(self._system_database),
                application_version=self.version,
                executor_id=self._executor_id,
                sys_db_pool_size=_POOL_SIZE + MOST_STUDIES,
                log_level="ERROR",
                enable_otlp=False,
            )
        )
        self._workflow = self._declare()
        DBOS.launch()
        _limit_this_process(dbos, QUEUE, self._studies_at_once)
        for queue, most in ((QUEUE, MOST_STUDIES), (REPORTS, 1)):
            DBOS.register_queue(
                queue,
                global_concurrency=None if self._shared else most,
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
        # A step that waits for its next try is one that runs: it would begin again while the process ends.
        return not self.running()

    def submit(self, workflow_id: str, study: OpenStudy) -> None:
        """Enqueue the study's workflow unless one with this id exists."""
        if self._workflow is None:
            raise RuntimeError("the queue was not started")
        with SetWorkflowID(workflow_id), SetEnqueueOptions(priority=int(study.urgency)):
            DBOS.enqueue_workflow(QUEUE, self._workflow, list(study.photographs))
        _log.info("study queued", workflow_id=workflow_id, photographs=len(study.photographs))

    def known(self, workflow_ids: Sequence[str]) -> set[str]:
        """Return those ids that have a workflow already, in whatever state."""
        return of_ids(DBOS.list_workflows, workflow_ids)

    def unfinished(self, workflow_ids: Sequence[str]) -> set[str]:
        """Return those ids whose workflow waits or runs."""
        wanted = set(workflow_ids)
        found = in_states(DBOS.list_workflows, *UNFINISHED)
        return {status.workflow_id for status in found if status.workflow_id in wanted}

    def depth(self) -> dict[str, int]:
        """Return DBOS's state -> number of unfinished and failed workflows."""
        return depth_of(in_states(DBOS.list_workflows, *UNFINISHED, *FAILED))

    def taken_up(self) -> dict[str, str]:
        """Return workflow id -> queue of what the database says is under way here."""
        return {
            status.workflow_id: status.queue_name or QUEUE
            for status in in_states(DBOS.list_workflows, "PENDING")
            if status.executor_id == self._executor_id
        }

    def running(self) -> set[str]:
        """Return the ids of the workflows whose steps run here."""
        with self._counting:
            return set(self._bodies)

    def hand_back(self, workflow_id: str, queue: str) -> None:
        """Let anybody take the workflow up, after its finished steps; one that has ended stays so."""
        DBOS.resume_workflow(workflow_id, queue_name=queue)

    def _declare(self) -> Callable[[Sequence[str]], None]:
        step = DBOS.step(
            retries_allowed=True, max_attempts=self._attempts, interval_seconds=self._retry_seconds
        )

        def score_photograph(photograph: str, following: Sequence[str] = ()) -> None:
            with self._guarded("score_photograph"):
                outlast(lambda: self._score_photograph(photograph, following))

        def report_study(photographs: Sequence[str]) -> None:
            with self._guarded("report_study"):
                reopened = times_reopened(DBOS.workflow_id or "")
                outlast(lambda: self._report_study(photographs, reopened))

        score_step, report_step = step(score_photograph), step(report_study)

        @DBOS.workflow(name=REPORT_WORKFLOW, max_recovery_attempts=self._starts - 1)
        def report_workflow(photographs: Sequence[str]) -> None:
            with self._body():
                report_step(photographs)

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=self._starts - 1)
        def score_study(photographs: Sequence[str]) -> None:
            with self._body():
                for number, photograph in enumerate(photographs):
                    score_step(photograph, photographs[number + 1 :])
                with SetWorkflowID(f"{DBOS.workflow_id}{REPORT}"):
                    DBOS.enqueue_workflow(REPORTS, report_workflow, photographs)

        return score_study

    @contextmanager
    def _body(self) -> Iterator[None]:
        """Count the workflow among those that run, of which a late one and its resumption may be the same."""
        name = DBOS.workflow_id or ""
        with self._counting:
            self._bodies[name] += 1
        try:
            yield
        finally:
            with self._counting:
                self._bodies[name] -= 1
                self._bodies += Counter()  # drops those at zero

    @contextmanager
    def _guarded(self, step: str) -> Iterator[None]:
        """Turn what a step raises into a `StepFailed`, since DBOS stores the error and its text."""
        try:
            yield
        except Exception as error:
            kind = type(error).__name__
            # What is cut off by our own stop is no failure: the next start runs it again.
            if not self._stopped:
                _log.error("step failed", step=step, error=kind, where=innermost(error.__traceback__))
            raise StepFailed(kind) from None


def _limit_this_process(dbos: DBOS, queue: str, at_once: Callable[[], int]) -> None:
    """Have this process take so many workflows of the queue, whatever others may take.

    DBOS keeps the limit in the queue's row, which all processes share and read at every poll: the one that
    was started last would set it for all. It offers no other way, so the row says one, and what is read of it
    is corrected here.
    """
    database = dbos._sys_db
    read = database.get_queue

    def read_for_this_process(name: str, **rest: Any) -> Queue | None:  # noqa: ANN401 -- as DBOS's own
        found = read(name, **rest)
        if found is not None and name == queue:
            found._worker_concurrency = max(1, min(at_once(), MOST_STUDIES))
        return found

    database.get_queue = read_for_this_process  # type: ignore[method-assign]
