"""Which workers live, as rows: each beats, and one elected process writes down who has stopped.

Times come from the caller's clock and are for people; whether a worker lives is told by its beats alone, so
that the clocks of several machines need not agree.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from storage.tables import HandBack, Worker

ALIVE = "alive"
GONE = "gone"


@dataclass(frozen=True, slots=True)
class Scores:
    """What a worker does: workflows of `application_version`, under the setup with `setup_digest`."""

    application_version: str
    setup_digest: str


def beat(session: Session, executor_id: str, scores: Scores, *, now: datetime) -> None:
    """Record that the worker lives, also one that had been given up; the caller commits."""
    known = session.scalar(
        update(Worker)
        .where(Worker.executor_id == executor_id)
        .values(beats=Worker.beats + 1, seen_at=now, gone_at=None)
        .returning(Worker.executor_id)
    )
    if known is None:
        session.add(
            Worker(
                executor_id=executor_id,
                application_version=scores.application_version,
                setup_digest=scores.setup_digest,
                beats=1,
                started_at=now,
                seen_at=now,
            )
        )


def take_leave(session: Session, executor_id: str) -> None:
    """Forget a worker that ends in order; the caller commits."""
    session.execute(delete(Worker).where(Worker.executor_id == executor_id))


def beats_of_living(session: Session) -> dict[str, int]:
    """Return executor id -> beats of each worker that has not been given up."""
    rows = session.execute(select(Worker.executor_id, Worker.beats).where(Worker.gone_at.is_(None)))
    return {row[0]: row[1] for row in rows}


def give_up_workers(session: Session, still: Mapping[str, int], *, now: datetime) -> list[str]:
    """Write down as gone those of `still` (executor id -> beats) that have not beaten since; return who.

    The caller commits.
    """
    gone: list[str] = []
    for executor_id, beats in still.items():
        gone += session.scalars(
            update(Worker)
            .where(Worker.executor_id == executor_id, Worker.beats == beats, Worker.gone_at.is_(None))
            .values(gone_at=now)
            .returning(Worker.executor_id)
        ).all()
    return gone


def forget_workers(session: Session, *, gone_before: datetime) -> None:
    """Remove the rows of workers, and of what was taken from them, that are of no interest any more."""
    session.execute(delete(Worker).where(Worker.gone_at < gone_before))
    session.execute(delete(HandBack).where(HandBack.last_at < gone_before))


def living_scores(session: Session) -> list[Scores]:
    """Return what the living workers do, each once, that of the one that was started last first."""
    rows = session.execute(
        select(Worker.application_version, Worker.setup_digest)
        .where(Worker.gone_at.is_(None))
        .group_by(Worker.application_version, Worker.setup_digest)
        .order_by(func.max(Worker.started_at).desc(), Worker.setup_digest)
    )
    return [Scores(*row) for row in rows]


def note_hand_back(session: Session, workflow_id: str, *, now: datetime) -> int:
    """Count that a workflow was taken from a worker that had gone; return how often. The caller commits."""
    times = session.scalar(
        update(HandBack)
        .where(HandBack.workflow_id == workflow_id)
        .values(times=HandBack.times + 1, last_at=now)
        .returning(HandBack.times)
    )
    if times is None:
        session.add(HandBack(workflow_id=workflow_id, times=1, last_at=now))
    return times or 1


def forget_hand_backs(session: Session, workflow_ids: Collection[str]) -> None:
    """Let these workflows begin with a fresh count; the caller commits."""
    session.execute(delete(HandBack).where(HandBack.workflow_id.in_(workflow_ids)))


def count_workers(session: Session) -> dict[str, int]:
    """Return how many workers are alive and how many have gone without taking leave."""
    gone = session.scalar(select(func.count()).select_from(Worker).where(Worker.gone_at.is_not(None))) or 0
    every = session.scalar(select(func.count()).select_from(Worker)) or 0
    return {ALIVE: every - gone, GONE: gone}


def count_seen_since(session: Session, since: datetime) -> int:
    """Return how many workers have beaten since a time by their own clocks, and taken no leave."""
    return session.scalar(select(func.count()).select_from(Worker).where(Worker.seen_at > since)) or 0
