from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker
from structlog.testing import capture_logs

from dicom_node.caller import Peer
from dicom_node.outbox import Backoff, Outbox
from dicom_node.sender import (
    ASSOCIATION_LOST,
    DELIVERED,
    NO_ACCEPTED_CONTEXT,
    NO_ASSOCIATION,
    NOT_TRIED,
    Outcome,
)
from storage.deliveries import (
    add_deliveries,
    count_deliveries,
    dead,
    due,
    mark_dead,
    mark_delivered,
    revive,
    waiting,
)
from storage.tables import Artefact, AuditEvent, Delivery
from tests.unit.rows import NOON, add_object, database


@dataclass(frozen=True)
class _Peer:
    ae_title: str = "PACS"
    host: str = "127.0.0.1"
    port: int = 1
    tls: bool = False
    storage_commitment: bool = False


@dataclass
class _Answers:
    """A sender whose network answers by rule; what went out is kept."""

    rule: Callable[[str], Outcome]
    batches: list[list[str]] = field(default_factory=list)

    def send(self, destination: Peer, files: list[Path]) -> list[Outcome]:
        self.batches.append([file.name for file in files])
        return [self.rule(file.name) for file in files]


@dataclass
class _Clock:
    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now


def _outbox(sessions: sessionmaker[Session], sender: _Answers, clock: _Clock, **backoff: float) -> Outbox:
    return Outbox(
        sessions=sessions,
        resolve=Path,
        sender=sender,
        clock=clock,
        random=Random(3),
        backoff=Backoff(first_seconds=8, longest_seconds=100, attempts=int(backoff.get("attempts", 4))),
    )


def _counts(sessions: sessionmaker[Session]) -> dict[str, int]:
    with sessions() as session:
        return count_deliveries(session)


def test_due_objects_go_out_once_in_order(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    with sessions.begin() as session:
        for uid in ("1.1", "1.2", "1.3"):
            add_object(session, uid, ["PACS", "OTHER"])
    sender = _Answers(lambda _: DELIVERED)
    outbox = _outbox(sessions, sender, _Clock())
    assert outbox.deliver_due(_Peer()) == 3
    assert outbox.deliver_due(_Peer()) == 0
    assert sender.batches == [["1.1.dcm", "1.2.dcm", "1.3.dcm"]]
    assert _counts(sessions) == {"due": 3, "uncommitted": 0, "delivered": 3, "dead": 0}


def test_a_transient_failure_waits_longer_each_time_and_dies_at_the_limit(tmp_path: Path) -> None:
    sessions, clock = database(tmp_path), _Clock()
    with sessions.begin() as session:
        add_object(session, "1.1", ["PACS"])
    outbox = _outbox(sessions, _Answers(lambda _: NO_ASSOCIATION), clock, attempts=4)
    waits = []
    while _counts(sessions)["due"]:
        outbox.deliver_due(_Peer())
        with sessions() as session:
            pending = waiting(session)
        if pending:
            assert pending[0].error == "no_association"
            waits.append((pending[0].due_at - clock.now).total_seconds())
            clock.now = pending[0].due_at
    assert [low <= wait <= 2 * low for wait, low in zip(waits, (4, 8, 16), strict=True)] == [True] * 3
    with sessions() as session:
        assert [(delivery.attempts, delivery.error) for delivery in dead(session)] == [(4, "no_association")]


def test_nothing_is_sent_before_its_time(tmp_path: Path) -> None:
    sessions, clock = database(tmp_path), _Clock()
    with sessions.begin() as session:
        add_object(session, "1.1", ["PACS"])
    sender = _Answers(lambda _: NO_ASSOCIATION)
    outbox = _outbox(sessions, sender, clock)
    outbox.deliver_due(_Peer())
    clock.now += timedelta(seconds=3.9)
    outbox.deliver_due(_Peer())
    assert len(sender.batches) == 1
    clock.now += timedelta(seconds=4.2)
    outbox.deliver_due(_Peer())
    assert len(sender.batches) == 2


def test_what_was_made_while_the_clock_was_ahead_goes_out_once_it_is_set_right(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    with sessions.begin() as session:
        add_object(session, "1.1", ["PACS"])
    clock = _Clock(NOON - timedelta(days=1000))
    assert _outbox(sessions, _Answers(lambda _: DELIVERED), clock).deliver_due(_Peer()) == 1


def test_a_permanent_failure_dies_at_once_and_leaves_the_others_alone(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    with sessions.begin() as session:
        add_object(session, "1.1", ["PACS"])
        add_object(session, "1.2", ["PACS"])
    sender = _Answers(lambda name: NO_ACCEPTED_CONTEXT if name == "1.1.dcm" else DELIVERED)
    assert _outbox(sessions, sender, _Clock()).deliver_due(_Peer()) == 1
    with sessions() as session:
        assert [(d.sop_instance_uid, d.error) for d in dead(session)] == [("1.1", "no_accepted_context")]
    assert _counts(sessions) == {"due": 0, "uncommitted": 0, "delivered": 1, "dead": 1}


def test_what_was_not_tried_stays_due_without_an_attempt(tmp_path: Path) -> None:
    sessions, clock = database(tmp_path), _Clock()
    with sessions.begin() as session:
        add_object(session, "1.1", ["PACS"])
        add_object(session, "1.2", ["PACS"])
    sender = _Answers(lambda name: ASSOCIATION_LOST if name == "1.1.dcm" else NOT_TRIED)
    outbox = _outbox(sessions, sender, clock)
    assert outbox.deliver_due(_Peer()) == 0
    sender.rule = lambda _: DELIVERED
    outbox.deliver_due(_Peer())
    # The one that took the association down waits; the other one goes out first.
    assert sender.batches == [["1.1.dcm", "1.2.dcm"], ["1.2.dcm"]]
    with sessions() as session:
        assert [(d.sop_instance_uid, d.attempts) for d in waiting(session)] == [("1.1", 1)]


@pytest.mark.parametrize("verdict", [DELIVERED, NO_ASSOCIATION, NO_ACCEPTED_CONTEXT])
@pytest.mark.parametrize("commitment", [False, True])
def test_one_that_is_erased_while_it_is_sent_costs_the_others_nothing(
    tmp_path: Path, verdict: Outcome, commitment: bool
) -> None:
    sessions = database(tmp_path)
    with sessions.begin() as session:
        for uid in ("1.1", "1.2", "1.3"):
            add_object(session, uid, ["PACS"])

    def rule(name: str) -> Outcome:
        if name != "1.2.dcm":
            return DELIVERED
        with sessions.begin() as session:
            artefact = session.scalars(select(Artefact).where(Artefact.sop_instance_uid == "1.2")).one()
            session.execute(delete(Delivery).where(Delivery.artefact_pk == artefact.id))
        return verdict

    sender = _Answers(rule)
    with capture_logs() as logs:
        _outbox(sessions, sender, _Clock()).deliver_due(_Peer(storage_commitment=commitment))
    assert sender.batches == [["1.1.dcm", "1.2.dcm", "1.3.dcm"]]
    expected = {"due": 0, "uncommitted": 0, "delivered": 0, "dead": 0}
    assert _counts(sessions) == expected | {"uncommitted" if commitment else "delivered": 2}
    with sessions() as session:
        audited = [row.detail["SOPInstanceUID"] for row in session.scalars(select(AuditEvent))]
    assert audited == ([] if commitment else ["1.1", "1.3"])
    assert [line["sop_instance_uid"] for line in logs] == ["1.1", "1.3"]


def test_revived_deliveries_are_due_at_once_with_fresh_attempts(tmp_path: Path) -> None:
    sessions, clock = database(tmp_path), _Clock()
    with sessions.begin() as session:
        for uid in ("1.1", "1.2"):
            add_object(session, uid, ["PACS"])
    sender = _Answers(lambda _: NO_ACCEPTED_CONTEXT)
    _outbox(sessions, sender, clock).deliver_due(_Peer())
    with sessions.begin() as session:
        first, second = (delivery.id for delivery in dead(session))
        assert revive(session, now=clock.now, ids=[first, 999]) == [first]
    with sessions() as session:
        ready = due(session, destination="PACS", now=clock.now, limit=10)
        assert [(delivery.id, delivery.attempts) for delivery in ready] == [(first, 0)]
    with sessions.begin() as session:
        assert revive(session, now=clock.now) == [second]
    assert _counts(sessions) == {"due": 2, "uncommitted": 0, "delivered": 0, "dead": 0}


def test_an_object_has_one_delivery_per_destination(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    with sessions.begin() as session:
        artefact = add_object(session, "1.1", ["PACS"])
    with pytest.raises(IntegrityError), sessions.begin() as session:
        add_deliveries(session, artefact.id, ["PACS"], due_at=NOON)
    assert _counts(sessions)["due"] == 1


def test_a_late_failure_does_not_bring_back_what_was_delivered(tmp_path: Path) -> None:
    sessions = database(tmp_path)
    with sessions.begin() as session:
        add_object(session, "1.1", ["PACS"])
    with sessions.begin() as session:
        (delivery,) = waiting(session)
        mark_delivered(session, delivery.id, now=NOON)
        mark_dead(session, delivery.id, error="no_association")
    assert _counts(sessions) == {"due": 0, "uncommitted": 0, "delivered": 1, "dead": 0}
