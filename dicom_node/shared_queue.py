"""The queue on PostgreSQL as the node sees it: it puts studies in and looks after them, and runs none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog
from dbos import DBOSClient, WorkflowStatus

from dicom_node.listed_workflows import in_states, of_ids
from dicom_node.stored_queue import FAILED, QUEUE, UNFINISHED, WORKFLOW, depth_of, queue_client, whole
from storage.studies import OpenStudy

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A workflow that some executor has taken up. queue: from which."""

    workflow_id: str
    executor_id: str
    queue: str


class SharedQueue:
    """Any number of them may look at one queue. `close` it at the end."""

    def __init__(self, system_database: str) -> None:
        """Connect to the PostgreSQL database in which DBOS has its tables; raises what SQLAlchemy raises."""
        self._client: DBOSClient = queue_client(system_database)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.destroy()

    def submit(self, workflow_id: str, study: OpenStudy, version: str) -> None:
        """Enqueue the study's workflow for the workers of a version, unless one with this id exists."""
        self._client.enqueue(
            {
                "queue_name": QUEUE,
                "workflow_name": WORKFLOW,
                "workflow_id": workflow_id,
                "app_version": version,
                "priority": int(study.urgency),
            },
            list(study.photographs),
        )
        _log.info("study queued", workflow_id=workflow_id, photographs=len(study.photographs))

    def known(self, workflow_ids: Sequence[str]) -> set[str]:
        """Return those ids that have a workflow already, in whatever state."""
        return of_ids(self._client.list_workflows, workflow_ids)

    def unfinished(self, workflow_ids: Collection[str]) -> set[str]:
        """Return those ids whose workflow waits or runs."""
        return {status.workflow_id for status in self._list(*UNFINISHED)} & set(workflow_ids)

    def depth(self) -> dict[str, int]:
        """Return DBOS's state -> number of unfinished and failed workflows."""
        return depth_of(self._list(*UNFINISHED, *FAILED))

    def under_way(self, executor_id: str | None = None) -> list[UnderWay]:
        """Return what executors have taken up, or what the one has."""
        return [
            UnderWay(status.workflow_id, status.executor_id or "", status.queue_name or QUEUE)
            for status in self._list("PENDING")
            if executor_id is None or status.executor_id == executor_id
        ]

    def hand_back(self, taken: UnderWay) -> None:
        """Let another executor take the workflow up, after its finished steps; one that has ended stays so.

        Whoever had it can record no further step of it.
        """
        self._client.resume_workflow(taken.workflow_id, queue_name=taken.queue)

    def give_up(self, taken: UnderWay) -> None:
        """Let nobody take the workflow up any more, until `forget_failed_workflows`."""
        self._client.cancel_workflow(taken.workflow_id)

    def drop_other_versions(self, versions: Collection[str], living: Collection[str]) -> int:
        """Delete what waits, or was left, for workers of other versions; return how many workflows.

        Those that one of the `living` executors has taken up stay. The next sweep submits the studies anew.
        """
        stranded = [
            status.workflow_id
            for status in self._list(*UNFINISHED)
            if status.app_version not in versions
            and not (status.status == "PENDING" and status.executor_id in living)
        ]
        if stranded:
            self._client.delete_workflows(whole(stranded))
        return len(stranded)

    def _list(self, *states: str) -> list[WorkflowStatus]:
        return in_states(self._client.list_workflows, *states)
