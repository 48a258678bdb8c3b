"""Studies that a worker leaves undone, for others; but not for ever, where it is the study that ends them."""

from __future__ import annotations

from datetime import datetime

import structlog
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.shared_queue import SharedQueue, UnderWay
from storage.workers import note_hand_back

_log = structlog.get_logger(__name__)

STARTS = 10
"""How often a workflow is taken up again whose worker went in the midst of it, or lost its GPU."""


def hand_back_or_give_up(
    sessions: sessionmaker[Session],
    queue: SharedQueue,
    taken: UnderWay,
    *,
    now: datetime,
    starts: int = STARTS,
) -> None:
    """Count that the workflow ended a worker, and let another take it up unless it has ended too many.

    Then its study has failed, until `facenorm retry`. Raises SQLAlchemyError.
    """
    with sessions.begin() as session:
        times = note_hand_back(session, taken.workflow_id, now=now)
    if times >= starts:
        queue.give_up(taken)
        _log.error("a study ended too many workers", workflow_id=taken.workflow_id, count=times)
        return
    queue.hand_back(taken)
    _log.info("handed back from a worker that has gone", workflow_id=taken.workflow_id, count=times)
