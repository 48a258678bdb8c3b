"""What a worker says of itself: that it lives, and at the end that it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session, sessionmaker

from dicom_node.hand_back import hand_back_or_give_up
from dicom_node.shared_queue import SharedQueue
from storage.workers import Scores, beat, take_leave


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Beats for one executor. It must have beaten once before it takes anything from the queue."""

    sessions: sessionmaker[Session]
    queue: SharedQueue
    executor_id: str
    scores: Scores
    clock: Callable[[], datetime]

    def beat(self) -> None:
        """Say that the worker lives. Raises SQLAlchemyError."""
        with self.sessions.begin() as session:
            beat(session, self.executor_id, self.scores, now=self.clock())

    def leave(self, *, device_lost: bool = False) -> None:
        """Hand back what is under way, once no more of it is done here, and say goodbye.

        device_lost: one of them may be why; each is counted, and given up when it was there too often.
        Raises SQLAlchemyError; then the elected process notices in its own time.
        """
        for taken in self.queue.under_way(self.executor_id):
            if device_lost:
                hand_back_or_give_up(self.sessions, self.queue, taken, now=self.clock())
            else:
                self.queue.hand_back(taken)
        with self.sessions.begin() as session:
            take_leave(session, self.executor_id)
