"""What the node counts, for Prometheus.

Numbers of things are read from the database at every scrape, of what grows for ever only the newest rows:
they are exact but for what was erased within the hour, and survive a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session, sessionmaker

from pipeline.computation import DeviceFault, FaultAnswer
from storage.deliveries import DELIVERED, count_failing, count_undelivered
from storage.scorings import REJECTED, SCORED
from storage.tables import Delivery, Photograph, Scoring
from storage.tally import Tally
from storage.workers import count_workers

_STAGE_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


class StageSeconds:
    """A histogram of the wall-clock seconds that each stage of a scoring took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register with `registry`."""
        self._histogram = Histogram(
            "facenorm_stage_seconds",
            "Wall-clock seconds by stage of a scoring",
            ["stage"],
            registry=registry,
            buckets=_STAGE_BUCKETS,
        )

    def observe(self, seconds: Mapping[str, float]) -> None:
        """Count one scoring's stages, name -> seconds."""
        for stage, elapsed in seconds.items():
            self._histogram.labels(stage).observe(elapsed)


class DeviceFaults:
    """Counts the faults of GPUs, and what followed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register with `registry`."""
        self._counter = Counter(
            "facenorm_device_faults",
            "Faults of the GPU, and what followed: smaller_batch, cpu or handed_back",
            ["fault", "then"],
            registry=registry,
        )
        # From the start, so that a first fault is an increase.
        for fault in DeviceFault:
            for then in get_args(FaultAnswer):
                self._counter.labels(fault.value, then)

    def count(self, fault: DeviceFault, then: FaultAnswer) -> None:
        """Count one."""
        self._counter.labels(fault.value, then).inc()


class ChoreCollector(Collector):
    """Failed turns of background chores, read when they are asked for."""

    def __init__(self, failures: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Take what gives the number of failures by chore and class of error."""
        self._failures = failures

    def describe(self) -> Iterable[Metric]:
        """Return nothing."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Yield the numbers."""
        failures = CounterMetricFamily(
            "facenorm_chore_failures", "Failed turns of background chores", labels=["chore", "error"]
        )
        for (chore, error), number in self._failures().items():
            failures.add_metric([chore, error], number)
        yield failures


class NodeCollector(Collector):
    """Photographs, scorings, deliveries, workflows and failed chores, read when they are asked for."""

    def __init__(
        self,
        *,
        sessions: sessionmaker[Session],
        workflows: Callable[[], Mapping[str, int]],
        chore_failures: Callable[[], Mapping[tuple[str, str], int]],
        with_workers: bool,
        free_bytes: Callable[[], int] = lambda: 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take what the numbers are read from: workflows by state, failures by chore and error class.

        with_workers: whether workers share the database; a node that scores by itself has none, ever.
        """
        self._photographs = Tally(Photograph.id, clock=clock)
        self._scorings = Tally(Scoring.id, Scoring.status, clock=clock)
        self._deliveries = Tally(Delivery.id, clock=clock)
        self._free_bytes = free_bytes
        self._sessions = sessions
        self._workflows = workflows
        self._with_workers = with_workers
        self._chore_failures = chore_failures

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering reads no database."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Read and yield every number."""
        with self._sessions() as session:
            photographs = self._photographs.count(session)[""]
            scorings = {SCORED: 0, REJECTED: 0} | self._scorings.count(session)
            # Counted first: what is added meanwhile is not taken for delivered.
            added = self._deliveries.count(session)[""]
            deliveries = count_undelivered(session)
            deliveries[DELIVERED] = max(0, added - sum(deliveries.values()))
            failing = count_failing(session)
            workers = count_workers(session) if self._with_workers else {}
        received = CounterMetricFamily("facenorm_photographs_received", "Photographs stored")
        received.add_metric([], photographs)
        yield received
        scored = CounterMetricFamily("facenorm_scorings", "Scorings by outcome", labels=["status"])
        for status, number in scorings.items():
            scored.add_metric([status], number)
        yield scored
        if workers:
            yield _gauge("facenorm_workers", "Workers that share the database, by state", "state", workers)
        yield _gauge("facenorm_deliveries", "Deliveries by state", "state", deliveries)
        errors = GaugeMetricFamily(
            "facenorm_delivery_errors",
            "Undelivered results by the class of their last failure",
            labels=["destination", "error"],
        )
        for (destination, error), number in failing.items():
            errors.add_metric([destination, error], number)
        yield errors
        yield GaugeMetricFamily(
            "facenorm_disk_free_bytes", "Free space where the data folder lies", value=self._free_bytes()
        )
        yield _gauge("facenorm_workflows", "Unfinished and failed workflows", "state", self._workflows())
        yield from ChoreCollector(self._chore_failures).collect()


def _gauge(name: str, documentation: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, documentation, labels=[label])
    for value, number in values.items():
        gauge.add_metric([value.lower()], number)
    return gauge
