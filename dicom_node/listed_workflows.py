"""Which workflows there are, of some ids or in some of DBOS's states, however many there have been."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dbos import WorkflowStatus

# In one statement: SQLite takes 32,766 parameters where nobody built it for more, PostgreSQL 65,535.
_IDENTIFIERS = 10_000


def of_ids(list_workflows: Callable[..., list[WorkflowStatus]], workflow_ids: Sequence[str]) -> set[str]:
    """Return those ids that have a workflow, in whatever state; list_workflows: of `DBOS` or of a client."""
    found: set[str] = set()
    for start in range(0, len(workflow_ids), _IDENTIFIERS):
        part = list(workflow_ids[start : start + _IDENTIFIERS])
        statuses = list_workflows(workflow_ids=part, load_input=False, load_output=False)
        found.update(status.workflow_id for status in statuses)
    return found


def in_states(list_workflows: Callable[..., list[WorkflowStatus]], *states: str) -> list[WorkflowStatus]:
    """Return those in some states, each once, at a cost that does not follow those that have ended.

    A statement a state: DBOS has small indexes of the workflows that wait, that run, and that failed, but
    none for several of these together, and reads every workflow that there has ever been. What changes its
    state meanwhile is found when it moves on in the order of `states`.
    """
    found: dict[str, WorkflowStatus] = {}
    for state in states:
        for status in list_workflows(status=[state], load_input=False, load_output=False):
            found[status.workflow_id] = status
    return list(found.values())
