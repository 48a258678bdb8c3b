"""The queue as it lies in its database: its names, and what is done to it from outside who runs it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dbos import DBOS, DBOSClient, WorkflowStatus

from dicom_node.listed_workflows import in_states
from storage.database import postgresql_url
from storage.sqlite_url import sqlite_url

APPLICATION = "facenorm"
QUEUE, REPORTS = "scoring", "reports"
WORKFLOW, REPORT_WORKFLOW = "score_study", "report_study"
# Makes the id of a study's second workflow from that of its first.
REPORT = ":report"

UNFINISHED = ("DELAYED", "ENQUEUED", "PENDING")
FAILED = ("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")


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
    return sqlite_url(place) if isinstance(place, Path) else postgresql_url(place)


def queue_client(system_database: Path | str) -> DBOSClient:
    """Return what looks into the queue, and puts studies into it, without running any; to be destroyed."""
    silence()
    return DBOSClient(
        system_database_url=system_database_url(system_database),
        application_name=APPLICATION,
        retry_connection_errors=False,
    )


def prepare_queue(system_database: str) -> None:
    """Create or upgrade DBOS's tables in a PostgreSQL database; harmless when several do so at once."""
    silence()
    DBOS.migrate(system_database_url(system_database))


def silence() -> None:
    """Keep DBOS's own log from the console; before anything else is asked of DBOS."""
    # DBOS prints to the console an advertisement, and tracebacks whose text may quote a dataset; without
    # a handler it would install that one. Its errors go on to our own logs, which leave the text out.
    logger = logging.getLogger("dbos")
    logger.handlers = [logging.NullHandler()]
    logger.propagate = True
