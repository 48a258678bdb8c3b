"""The node: the one place that composes the service from its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from random import Random

import structlog
from prometheus_client import CollectorRegistry

from dicom_node.calling_side import CallingSide
from dicom_node.chores import Chore, Chores
from dicom_node.core import Core, NodeError, open_core, refuse_unscored, why_not_bound
from dicom_node.data_folder import FolderInUseError, FolderLock, HalfRestoredError, refuse_half_restored
from dicom_node.files_chore import files_trouble, files_work
from dicom_node.housekeeping import INTERVAL_SECONDS, Housekeeping, process_name
from dicom_node.metrics import DeviceFaults, NodeCollector, StageSeconds
from dicom_node.receiver import Receiver
from dicom_node.scorer_loading import ScorerFactory
from dicom_node.scoring_side import ScoringSide
from dicom_node.settings import Settings, differing_keys
from dicom_node.shared_queue import SharedQueue
from dicom_node.shared_work import absent_workers, open_shared_queue
from dicom_node.status import StatusServer, build_app, reasons_of
from dicom_node.status_page import StatusPage
from dicom_node.tls import Certificates, TlsError
from dicom_node.triggering import own_triggering, shared_triggering
from storage.database import is_postgresql

_log = structlog.get_logger(__name__)

_STOP_SECONDS = 5


class Node:
    """One node on one data folder: `start` it, `stop` it; a stopped node is not started again."""

    def __init__(
        self,
        settings: Settings,
        *,
        scorer_factory: ScorerFactory | None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: Random | None = None,
    ) -> None:
        """Compose nothing yet. `scorer_factory` is called in the scoring process; it may take its time.

        It is pickled: a function of a module, or a `partial` of one. None: nothing is scored here, but by
        workers on the same PostgreSQL database.

        clock: what every due time is compared with, in UTC. random: spreads the retries.
        """
        self._settings = settings
        self._scorer_factory = scorer_factory
        self._clock = clock
        self._name = process_name()
        self._random = random or Random()  # noqa: S311 - jitter, not a secret
        self._registry = CollectorRegistry()
        self._stages = StageSeconds(self._registry)
        self._faults = DeviceFaults(self._registry)
        self._receiver: Receiver | None = None
        self._chores: Chores | None = None
        self._page: StatusPage | None = None
        self._status: StatusServer | None = None
        self._scoring: ScoringSide | None = None
        self._core: Core | None = None
        self._checks: Mapping[str, Callable[[], str | None]] = {}
        self._calling: CallingSide | None = None
        self._certificates = Certificates()
        self._stopping = ExitStack()
        self._came_to_rest = True
        self._given_up = False

    @property
    def port(self) -> int:
        """The TCP port that takes associations."""
        return self._receiver.port if self._receiver else 0

    @property
    def status_port(self) -> int:
        """The TCP port of `/health` and `/metrics`."""
        return self._status.port if self._status else 0

    def start(self) -> None:
        """Return once photographs are received, scored and sent.

        Photographs are received while the weights load. Raises NodeError; nothing runs then.
        """
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

    def reload(self, settings: Settings) -> list[str]:
        """Take over what can change while associations are open; return the keys that need a restart.

        That is: who may send, retention, the status token, and new certificates under the same settings.

        Raises NodeError: the certificates cannot be used; nothing has changed then.
        """
        taken = {name: getattr(settings, name) for name in ("senders", "retention")}
        status = self._settings.status.model_copy(update={"token": settings.status.token})
        after = self._settings.model_copy(update=taken | {"status": status})
        self._certificates = _certificates(after)
        before, self._settings = self._settings, after
        if self._receiver:
            self._receiver.admit_anew(after, self._certificates.listening)
        if self._chores and self._calling:
            reporting = self._calling.reporting_to
            self._chores.exchange(reporting(before.senders), reporting(after.senders))
        return differing_keys(settings, after)

    def stop(self) -> bool:
        """Take up nothing new and come to rest; return False when a scoring or a sending still runs.

        What still runs in its thread is lost with the process, and done again at the next start.
        """
        self._stopping.close()
        return self._came_to_rest

    def _start(self) -> None:
        refuse_unscored(self._settings, scores=self._scorer_factory is not None)
        core = self._core = self._open()
        self._status = self._start_status()
        calling = self._calling = CallingSide(
            self._settings,
            core,
            clock=self._clock,
            random=self._random,
            tls=lambda: self._certificates.calling,
        )
        self._receiver = self._start_receiver(core, calling)
        shared = self._open_shared_queue()
        scoring = self._start_scoring(core, shared)
        depth = shared.depth if shared else scoring.queue.depth if scoring else dict
        work = calling.work | self._upkeep(core) | (scoring.work if scoring else {})
        work |= self._trigger_work(core, shared, scoring)
        chores = self._chores = self._start_chores(work)
        self._registry.register(
            NodeCollector(
                sessions=core.sessions,
                workflows=depth,
                chore_failures=lambda: chores.failures,
                with_workers=shared is not None,
                free_bytes=core.store.free_bytes,
            )
        )
        self._page = self._status_page(core, depth, scoring)
        _log.info("ready", port=self.port)

    def _open(self) -> Core:
        settings = self._settings
        self._certificates = _certificates(settings)
        try:
            self._stopping.callback(FolderLock(settings.data.folder).release)
            refuse_half_restored(settings.data.folder)
        except (FolderInUseError, HalfRestoredError) as error:
            raise NodeError(str(error)) from None
        except OSError as error:
            raise NodeError(f"the data folder {settings.data.folder}: {error.strerror}") from None
        core = open_core(settings)
        self._stopping.callback(core.close)
        return core

    def _start_status(self) -> StatusServer:
        where = self._settings.status
        checks = self._checks = {
            "receiver": lambda: None if self._receiver else "does not listen yet",
            "database": self._database_trouble,
            "disk": self._disk_trouble,
            "scorer": self._scorer_trouble,
            "files": lambda: files_trouble(self._chores),
        }
        try:
            app = build_app(
                self._registry, checks, token=lambda: self._settings.status.token, page=self._show
            )
            server = StatusServer(app, host=where.host, port=where.port)
        except OSError as error:
            raise NodeError(why_not_bound("status", where.host, where.port, error)) from None
        server.start()
        self._stopping.callback(server.stop)
        return server

    def _start_receiver(self, core: Core, calling: CallingSide) -> Receiver:
        where = self._settings.node
        receiver = Receiver(
            settings=self._settings,
            sessions=core.sessions,
            store=core.store,
            clock=self._clock,
            commitment_scp=calling.commitment_scp,
            commitments=calling.commitments,
            tls=self._certificates.listening,
        )
        try:
            receiver.start()
        except OSError as error:
            raise NodeError(why_not_bound("node", where.host, where.port, error)) from None
        self._stopping.callback(receiver.stop)
        return receiver

    def _open_shared_queue(self) -> SharedQueue | None:
        if not is_postgresql(self._settings.database_url):
            return None
        queue = open_shared_queue(self._settings)
        self._stopping.callback(queue.close)
        return queue

    def _start_scoring(self, core: Core, shared: SharedQueue | None) -> ScoringSide | None:
        if self._scorer_factory is None:
            return None
        scoring = ScoringSide(
            self._settings,
            core,
            scorer_factory=self._scorer_factory,
            clock=self._clock,
            observe=self._stages.observe,
            count_fault=self._faults.count,
            executor_id=self._name,
            shared=shared,
        )
        self._stopping.callback(self._stop_scoring, scoring)
        self._scoring = scoring
        if self._given_up:
            raise NodeError("it was stopped while it started")
        scoring.start()
        return scoring

    def _stop_scoring(self, scoring: ScoringSide) -> None:
        self._came_to_rest &= scoring.stop()

    def _stop_chores(self, chores: Chores) -> None:
        self._came_to_rest &= chores.stop(seconds=_STOP_SECONDS)

    def _start_chores(self, work: Mapping[str, Chore]) -> Chores:
        chores = Chores(work)
        chores.start()
        self._stopping.callback(self._stop_chores, chores)
        return chores

    def _trigger_work(
        self, core: Core, shared: SharedQueue | None, scoring: ScoringSide | None
    ) -> dict[str, Chore]:
        if shared:
            absent = absent_workers(self._settings, core, shared, clock=self._clock, holder=self._name)
            self._stopping.callback(absent.resign)
            return shared_triggering(self._settings, core, shared, absent, clock=self._clock)
        return own_triggering(self._settings, core, scoring, clock=self._clock) if scoring else {}

    def _upkeep(self, core: Core) -> dict[str, Chore]:
        housekeeping = Housekeeping(
            sessions=core.sessions,
            store=core.store,
            clock=self._clock,
            retention=lambda: self._settings.retention,
            destinations=lambda: [entry.ae_title for entry in self._settings.destinations],
            senders=lambda: [entry.ae_title for entry in self._settings.senders if entry.commitment_port],
            minimum_free_bytes=self._minimum_free_bytes,
        )
        self._stopping.callback(housekeeping.resign)
        return {"housekeeping": (INTERVAL_SECONDS, housekeeping.turn), **files_work(core)}

    def _status_page(
        self, core: Core, depth: Callable[[], Mapping[str, int]], scoring: ScoringSide | None
    ) -> StatusPage:
        return StatusPage(
            sessions=core.sessions,
            reasons=lambda: reasons_of(self._checks),
            workflows=depth,
            destinations=lambda: self._settings.destinations,
            echoes=lambda: self._calling.echoes.last if self._calling else {},
            model=lambda: _model(scoring),
            clock=self._clock,
        )

    def _show(self, patients: bool) -> str:
        return self._page.render(patients=patients) if self._page else "the node is starting"

    @property
    def _minimum_free_bytes(self) -> int:
        return self._settings.data.minimum_free_megabytes * 1_000_000

    def _disk_trouble(self) -> str | None:
        if self._core is None:
            return "not open"
        full = self._core.store.free_bytes() < self._minimum_free_bytes
        return "less free space than data.minimum_free_megabytes: photographs are refused" if full else None

    def _scorer_trouble(self) -> str | None:
        # The chores are what is started last.
        if self._scorer_factory is None:
            return None if self._chores else "the node is starting"
        loaded = self._chores and self._scoring and self._scoring.is_loaded
        return None if loaded else "the weights are not loaded"

    def _database_trouble(self) -> str | None:
        if self._core is None:
            return "not open"
        return self._core.database_trouble()


def _certificates(settings: Settings) -> Certificates:
    try:
        return Certificates.of(settings)
    except TlsError as error:
        raise NodeError(str(error)) from None


def _model(scoring: ScoringSide | None) -> dict[str, str]:
    if scoring is None:
        return {"scored by": "workers"}
    provenance = scoring.provenance
    return {
        "generator": provenance.generator,
        "regressor": provenance.regressor,
        "profile": provenance.profile,
        "setup": provenance.digest()[:12],
    }
