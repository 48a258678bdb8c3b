"""What starts the studies that have become quiet, on a queue of one's own or on a shared one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from dicom_node.absent_workers import AbsentWorkers
from dicom_node.chores import SWEEP_SECONDS, Chore
from dicom_node.core import Core
from dicom_node.scoring_side import ScoringSide
from dicom_node.settings import Settings
from dicom_node.shared_queue import SharedQueue
from dicom_node.shared_trigger import SharedTrigger
from dicom_node.shared_work import look_after
from dicom_node.trigger import Trigger


def shared_triggering(
    settings: Settings,
    core: Core,
    queue: SharedQueue,
    absent: AbsentWorkers,
    *,
    clock: Callable[[], datetime],
) -> dict[str, Chore]:
    """Return the chores that submit studies for all workers, and look after those."""
    wanted = settings.trigger
    submitting = SharedTrigger(
        sessions=core.sessions,
        queue=queue,
        clock=clock,
        quiet_seconds=wanted.quiet_seconds,
        most_waiting=wanted.most_waiting_per_sender,
    )
    return {"trigger": (SWEEP_SECONDS, submitting.sweep), **look_after(settings, absent)}


def own_triggering(
    settings: Settings, core: Core, scoring: ScoringSide, *, clock: Callable[[], datetime]
) -> dict[str, Chore]:
    """Return the chore that submits studies to the one process that scores."""
    wanted = settings.trigger
    trigger = Trigger(
        sessions=core.sessions,
        workflows=scoring.queue,
        clock=clock,
        quiet_seconds=wanted.quiet_seconds,
        setup_digest=scoring.provenance.digest(),
        most_waiting=wanted.most_waiting_per_sender,
    )
    return {"trigger": (SWEEP_SECONDS, trigger.sweep)}
