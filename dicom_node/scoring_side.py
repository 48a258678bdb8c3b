"""The side of a process that scores: the scorer, the steps, the queue that runs them, and its heartbeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import structlog
from dbos import error as dbos_error
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.adrift_workflows import AdriftWorkflows
from dicom_node.chores import Chore
from dicom_node.core import Core, NodeError
from dicom_node.heartbeat import Heartbeat
from dicom_node.logs import configure_logs
from dicom_node.queue_place import queue_place, why_no_queue
from dicom_node.scorer_loading import ScorerFactory, ScorerUnusableError
from dicom_node.scoring_batches import ScoringBatches
from dicom_node.scoring_process import ScoringError, ScoringProcess
from dicom_node.settings import Settings
from dicom_node.shared_queue import SharedQueue
from dicom_node.workflow import StudyQueue
from pipeline.computation import DeviceFault, FaultAnswer
from pipeline.result import FITTED_OTHERWISE, Provenance
from storage.workers import Scores

if TYPE_CHECKING:
    from dicom_node.study_steps import StudySteps

_log = structlog.get_logger(__name__)

_STOP_SECONDS = 5


class ScoringSide:
    """`start` it, `stop` it, and do its `work` meanwhile."""

    def __init__(
        self,
        settings: Settings,
        core: Core,
        *,
        scorer_factory: ScorerFactory,
        clock: Callable[[], datetime],
        observe: Callable[[Mapping[str, float]], None],
        count_fault: Callable[[DeviceFault, FaultAnswer], None],
        executor_id: str,
        shared: SharedQueue | None,
    ) -> None:
        """Compose nothing yet. shared: the queue, where other processes score from it, too.

        executor_id: a name that no other process has, now or later; without a shared queue it is not used.
        """
        self._settings = settings
        self._core = core
        self._clock = clock
        self._observe = observe
        self._executor_id = executor_id
        self._shared = shared
        self._scorer = ScoringProcess(
            scorer_factory,
            timeout_seconds=settings.scoring.timeout_seconds,
            prepare_logs=partial(configure_logs, settings),
            takes_cpu=settings.scoring.on_device_fault == "cpu",
            count_fault=self._note_fault,
        )
        self._count_fault = count_fault
        self._device_lost = False
        self._queue: StudyQueue | None = None
        self._heartbeat: Heartbeat | None = None

    @property
    def queue(self) -> StudyQueue:
        """The queue that runs here. Raises RuntimeError unless started."""
        if self._queue is None:
            raise RuntimeError("the scoring side was not started")
        return self._queue

    @property
    def provenance(self) -> Provenance:
        """What decides a score besides the pixels. Raises RuntimeError unless started."""
        return self._scorer.provenance

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are loaded."""
        return self._scorer.is_loaded

    @property
    def work(self) -> dict[str, Chore]:
        """What has to be done again and again."""
        workers = self._settings.workers
        adrift = AdriftWorkflows(
            self.queue,
            clock=self._clock,
            turn_seconds=workers.beat_seconds,
            adrift_seconds=workers.gone_seconds,
        )
        work: dict[str, Chore] = {"adrift workflows": (workers.beat_seconds, adrift.turn)}
        if self._heartbeat:
            work["heartbeat"] = (workers.beat_seconds, self._heartbeat.beat)
        return work

    def start(self) -> None:
        """Load the weights, then take studies from the queue. Raises NodeError; call `stop` then, too."""
        self._load()
        steps = self._steps()
        queue = StudyQueue(
            system_database=queue_place(self._settings),
            setup_digest=self.provenance.digest(),
            score_photograph=steps.score_photograph,
            report_study=steps.report_study,
            studies_at_once=lambda: self._scorer.most_at_once,
            executor_id=self._executor_id if self._shared else None,
        )
        if self._shared:
            self._heartbeat = Heartbeat(
                sessions=self._core.sessions,
                queue=self._shared,
                executor_id=self._executor_id,
                scores=Scores(queue.version, self.provenance.digest()),
                clock=self._clock,
            )
            self._heartbeat.beat()
        self._queue = queue
        try:
            queue.start()
        except (SQLAlchemyError, dbos_error.DBOSException, OSError) as error:
            raise NodeError(why_no_queue(self._settings, error)) from None

    def give_up(self) -> None:
        """Let `start` raise NodeError at once, instead of waiting for the weights."""
        self._scorer.give_up()

    def stop(self) -> bool:
        """Come to rest and say goodbye; return False when a scoring was cut off."""
        rested = self._queue.stop(seconds=_STOP_SECONDS) if self._queue else True
        self._scorer.close()
        if self._heartbeat:
            try:
                self._heartbeat.leave(device_lost=self._device_lost)
            except SQLAlchemyError as error:
                _log.warning("could not take leave", error=type(error).__name__)
        return rested

    def _note_fault(self, fault: DeviceFault, then: FaultAnswer) -> None:
        self._device_lost |= then == "handed_back"
        self._count_fault(fault, then)

    def _load(self) -> None:
        try:
            self._scorer.start()
        except ScorerUnusableError as error:
            raise NodeError(str(error)) from None
        except ScoringError as error:
            raise NodeError(f"the scorer cannot be loaded: {error}; the log says more") from None
        if FITTED_OTHERWISE in self.provenance.settings:
            _log.warning("the regressor was fitted under other settings of the profile: calibrate anew")

    def _steps(self) -> StudySteps:
        # Not above: a node that does not score needs none of what makes objects.
        from dicom_node.study_report import StudyReporter
        from dicom_node.study_steps import StudySteps

        settings, core = self._settings, self._core
        return StudySteps(
            sessions=core.sessions,
            store=core.store,
            scorer=ScoringBatches(self._scorer),
            reporter=StudyReporter(
                sessions=core.sessions,
                store=core.store,
                destinations=tuple(destination.ae_title for destination in settings.destinations),
                clock=self._clock,
                options=settings.reports.options,
                alone=self._shared is None,
            ),
            clock=self._clock,
            observe=self._observe,
        )
