"""Which workflows are in some of DBOS's states, at a cost that does not follow those that have ended."""

from __future__ import annotations

from collections.abc import Callable

from dbos import WorkflowStatus


def in_states(list_workflows: Callable[..., list[WorkflowStatus]], *states: str) -> list[WorkflowStatus]:
    """Return them, each once; list_workflows: of `DBOS` or of a client.

    A statement a state: DBOS has small indexes of the workflows that wait, that run, and that failed, but
    none for several of these together, and reads every workflow that there has ever been. What changes its
    state meanwhile is found when it moves on in the order of `states`.
    """
    found: dict[str, WorkflowStatus] = {}
    for state in states:
        for status in list_workflows(status=[state], load_input=False, load_output=False):
            found[status.workflow_id] = status
    return list(found.values())
