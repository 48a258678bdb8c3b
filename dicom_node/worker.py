"""A process that only scores: studies from the queue on PostgreSQL, beside a node and other workers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime

import structlog
from prometheus_client import CollectorRegistry

from dicom_node.chores import Chores
from dicom_node.core import Core, NodeError, open_core, why_not_bound
from dicom_node.data_folder import has_had_a_node
from dicom_node.files_chore import files_trouble, files_work
from dicom_node.housekeeping import process_name
from dicom_node.metrics import ChoreCollector, DeviceFaults, StageSeconds
from dicom_node.scorer_loading import ScorerFactory
from dicom_node.scoring_side import ScoringSide
from dicom_node.settings import Settings
from dicom_node.shared_work import absent_workers, look_after, open_shared_queue
from dicom_node.status import StatusServer, build_app
from pipeline.computation import DeviceFault, FaultAnswer
from storage.database import is_postgresql

_log = structlog.get_logger(__name__)

_STOP_SECONDS = 5


class Worker:
    """One worker: `start` it, `stop` it; a stopped worker is not started again."""

    def __init__(
        self,
        settings: Settings,
        *,
        scorer_factory: ScorerFactory,
        status_port: int | None = None,
        device_lost: Callable[[], None] = lambda: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Compose nothing yet. settings: those of the node, on the same database and the same files.

        scorer_factory: see `Node`. status_port: where /health and /metrics are served, 0: the system
        chooses; None: nowhere. device_lost: called when the GPU failed and the work is to be handed back:
        the worker is of no use any more.
        """
        self._settings = settings
        self._scorer_factory = scorer_factory
        self._status_port = status_port
        self._device_lost = device_lost
        self._clock = clock
        self.name = process_name()
        self._registry = CollectorRegistry()
        self._faults = DeviceFaults(self._registry)
        self._core: Core | None = None
        self._scoring: ScoringSide | None = None
        self._chores: Chores | None = None
        self._status: StatusServer | None = None
        self._stopping = ExitStack()
        self._came_to_rest = True
        self._given_up = False

    @property
    def status_port(self) -> int:
        """The TCP port of /health; 0 where it is not served."""
        return self._status.port if self._status else 0

    def start(self) -> None:
        """Return once studies are taken from the queue. Raises NodeError; nothing runs then."""
        try:
            self._start()
        except BaseException:
            self._stopping.close()
            raise

    def give_up(self) -> None:
        """Let `start` raise NodeError soon, without waiting for the weights; may be called in a signal."""
        self._given_up = True
        if self._scoring:
            self._scoring.give_up()

    def stop(self) -> bool:
        """Come to rest and hand back what is under way; return False when a scoring was cut off."""
        self._stopping.close()
        return self._came_to_rest

    def _start(self) -> None:
        settings = self._settings
        self._refuse_what_cannot_be_shared()
        self._start_status()
        core = self._core = open_core(settings)
        self._stopping.callback(core.close)
        queue = open_shared_queue(settings)
        self._stopping.callback(queue.close)
        scoring = self._scoring = ScoringSide(
            settings,
            core,
            scorer_factory=self._scorer_factory,
            clock=self._clock,
            observe=StageSeconds(self._registry).observe,
            count_fault=self._note_fault,
            executor_id=self.name,
            shared=queue,
        )
        self._stopping.callback(self._stop_scoring, scoring)
        if self._given_up:
            raise NodeError("it was stopped while it started")
        scoring.start()
        absent = absent_workers(settings, core, queue, clock=self._clock, holder=self.name)
        self._stopping.callback(absent.resign)
        upkeep = look_after(settings, absent) | files_work(core)
        chores = self._chores = Chores({**scoring.work, **upkeep})
        self._registry.register(ChoreCollector(lambda: chores.failures))
        chores.start()
        self._stopping.callback(self._stop_chores, chores)
        _log.info("worker ready")

    def _refuse_what_cannot_be_shared(self) -> None:
        settings = self._settings
        if not is_postgresql(settings.database_url):
            raise NodeError(
                "workers need PostgreSQL: SQLite cannot be shared; set data.database_url, "
                "and bring what there is with `facenorm import`"
            )
        if not settings.data.files_url and not has_had_a_node(settings.data.folder):
            raise NodeError(
                f"no node has worked on the data folder {settings.data.folder}: a worker needs the node's "
                "own, shared or mounted, or object storage; start the node first, or correct data.folder"
            )

    def _start_status(self) -> None:
        if self._status_port is None:
            return
        where = self._settings.status
        checks = {
            "database": self._database_trouble,
            "scorer": self._scorer_trouble,
            "files": lambda: files_trouble(self._chores),
        }
        try:
            app = build_app(self._registry, checks, token=lambda: where.token)
            self._status = StatusServer(app, host=where.host, port=self._status_port)
        except OSError as error:
            port, option = self._status_port, "--status-port"
            raise NodeError(why_not_bound("status", where.host, port, error, named=option)) from None
        self._status.start()
        self._stopping.callback(self._status.stop)

    def _note_fault(self, fault: DeviceFault, then: FaultAnswer) -> None:
        self._faults.count(fault, then)
        if then == "handed_back":
            self._device_lost()

    def _stop_scoring(self, scoring: ScoringSide) -> None:
        self._came_to_rest &= scoring.stop()

    def _stop_chores(self, chores: Chores) -> None:
        self._came_to_rest &= chores.stop(seconds=_STOP_SECONDS)

    def _database_trouble(self) -> str | None:
        return self._core.database_trouble() if self._core else "not open"

    def _scorer_trouble(self) -> str | None:
        # The chores are what is started last.
        loaded = self._chores and self._scoring and self._scoring.is_loaded
        return None if loaded else "the weights are not loaded"
