"""The scorer in a process of its own, so that receiving does not share an interpreter's lock with it.

The child loads the weights once and lives as long as the node. When it crashes, is killed, fails or exceeds
its time, the scoring in progress fails, for the workflow's step to try it again, and the next one starts a
new child. When its GPU fails, the scoring goes on in one that computes on the CPU, if that is wanted.
"""

from __future__ import annotations

import atexit
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from dicom_node.scorer_loading import ScorerFactory, ScorerUnusableError
from dicom_node.scoring_child import Failed, Ready, Results, ToBlend, ToScore, Unusable, score_for_the_node
from pipeline.computation import DeviceFault, DeviceFaultError, FaultAnswer
from pipeline.result import Provenance, Rejection, Scored

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)

_LOAD_SECONDS = 600.0
_END_SECONDS = 10.0
# A GPU whose memory another program had taken may be free again.
_ON_CPU_SECONDS = 600.0


class ScoringError(RuntimeError):
    """There is no result, for a reason that does not lie in the photograph's pixels alone."""


class ScoringEndedError(ScoringError):
    """The scoring process ended before it answered."""


class ScoringTimeoutError(ScoringError):
    """The scoring process did not answer in time, and was ended."""


class ScoringFailedError(ScoringError):
    """The scorer raised; the log of the scoring process has the class of the error and its place."""


class ScorerChangedError(ScoringError):
    """A new scoring process found other weights than the node started with: restart the node."""


class DeviceFailedError(ScoringError):
    """The GPU failed, and nothing else is to be used in its place."""


@dataclass(frozen=True, slots=True)
class _Child:
    process: SpawnProcess
    connection: Connection

    def answer(self, seconds: float) -> object:
        """Return what the child says next.

        Raises EOFError or OSError where it has ended, ScoringTimeoutError when it says nothing in time.
        """
        if not self.connection.poll(seconds):
            raise ScoringTimeoutError(f"nothing came within {seconds:.0f} s")
        return self.connection.recv()

    def end(self, grace_seconds: float = 0.0) -> str:
        """Wait so long for the process to end, kill it if need be; return its exit status or signal."""
        self.process.join(grace_seconds)
        self.process.kill()  # does nothing to one that has ended
        self.process.join(_END_SECONDS)
        self.connection.close()
        code = self.process.exitcode
        return signal.Signals(-code).name if code is not None and code < 0 else str(code)


class ScoringProcess:
    """A `Scorer` whose work is done by a child process: `start` it, `close` it."""

    def __init__(
        self,
        factory: ScorerFactory,
        *,
        timeout_seconds: float,
        prepare_logs: Callable[[], None],
        takes_cpu: bool = True,
        count_fault: Callable[[DeviceFault, FaultAnswer], None] = lambda _, __: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what makes the scorer in the child and what sets up its logs; both are pickled.

        timeout_seconds: what one photograph, or one batch, may take. takes_cpu: whether the CPU goes on when
        the GPU fails, and for the next ten minutes. count_fault: told of its faults and of what followed.
        clock: seconds.
        """
        self._factory = factory
        self._prepare_logs = prepare_logs
        self._timeout_seconds = timeout_seconds
        self._takes_cpu, self._count_fault, self._clock = takes_cpu, count_fault, clock
        self._on_cpu_after: DeviceFault | None = None
        self._on_cpu_since = 0.0
        self._most_at_once = 1
        self._turn = threading.Lock()
        self._child: _Child | None = None
        self._provenance: Provenance | None = None
        self._loaded = False
        self._closed = False

    @property
    def provenance(self) -> Provenance:
        """What decides a score besides the pixels. Raises RuntimeError unless started."""
        if self._provenance is None:
            raise RuntimeError("the scoring process was not started")
        return self._provenance

    @property
    def most_at_once(self) -> int:
        """From how many photographs together the device gains, as it was told last."""
        return self._most_at_once

    @property
    def is_loaded(self) -> bool:
        """Whether the weights were loaded when that was tried last."""
        return self._loaded

    def start(self) -> None:
        """Start the child and return once its weights are loaded.

        Raises:
            ScorerUnusableError: no scorer can be made; the text says what to do.
            ScoringError: the child ended, failed or took too long.

        """
        # Before multiprocessing's own, which would wait for a child that is busy.
        atexit.register(self.close)
        with self._turn:
            self._in_spite_of_faults(self._running)

    def give_up(self) -> None:
        """Let `start`, or a scoring, raise ScoringEndedError at once; waits for nothing."""
        self._closed = True
        if child := self._child:
            child.process.kill()

    def close(self) -> None:
        """End the child, also in the midst of a scoring, which then raises ScoringEndedError."""
        atexit.unregister(self.close)
        self.give_up()
        with self._turn:  # a scoring that was cut off gives it back at once
            self._drop()

    def score_files(self, paths: Sequence[Path], /) -> list[Scored | Rejection]:
        """Score DICOM files in the child, together where the device gains from that.

        Raises:
            ScoringError: the child ended, failed or took too long; another try starts a new one.
            DeviceFailedError: the GPU failed, and nothing else is to be used.

        """
        answer = self._asked(ToScore(tuple(paths)))
        if not isinstance(answer, Results) or len(answer.results) != len(paths):
            raise ScoringFailedError(type(answer).__name__)
        if answer.most_at_once < self._most_at_once:
            self._note(DeviceFault.OUT_OF_MEMORY, "smaller_batch")
        self._most_at_once = answer.most_at_once
        return list(answer.results)

    def blend_file(self, path: Path, normalized: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        """Have the child put a normalized face back into its photograph. Raises like `score_files`."""
        answer = self._asked(ToBlend(path, normalized))
        if not isinstance(answer, np.ndarray):
            raise ScoringFailedError(type(answer).__name__)
        return answer

    def _asked(self, question: ToScore | ToBlend) -> object:
        def ask() -> object:
            child = self._running()
            with self._ended_on_error():
                child.connection.send(question)
                return _whole(child.answer(self._timeout_seconds))

        with self._turn:
            return self._in_spite_of_faults(ask)

    def _in_spite_of_faults(self, ask: Callable[[], _T]) -> _T:
        """Return what `ask` returns, by the CPU's child where the GPU's failed."""
        try:
            return ask()
        except DeviceFaultError as error:
            if not self._takes_cpu or self._on_cpu_after:
                self._note(error.fault, "handed_back")
                raise DeviceFailedError(error.fault.value) from None
            self._note(error.fault, "cpu")
            self._on_cpu_after, self._on_cpu_since = error.fault, self._clock()
        return ask()

    def _note(self, fault: DeviceFault, then: FaultAnswer) -> None:
        _log.error("device fault", reason=fault.value, outcome=then)
        self._count_fault(fault, then)

    def _running(self) -> _Child:
        """Return the child, started anew where there is none or it has ended since."""
        if self._on_cpu_after and self._clock() - self._on_cpu_since > _ON_CPU_SECONDS:
            self._on_cpu_after = None
            self._drop()
        if self._child and not self._child.process.is_alive():
            self._drop("scoring process ended")
        if self._closed:
            raise ScoringEndedError("the node is stopping")
        if self._child:
            return self._child
        self._loaded = False
        with self._ended_on_error():
            child = self._spawn()
            self._load(child)
        self._loaded = True
        return child

    def _spawn(self) -> _Child:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=score_for_the_node,
            args=(theirs, self._factory, self._on_cpu_after, self._prepare_logs),
            name="facenorm scoring",
        )
        with _no_signals_for_children():
            process.start()
        theirs.close()
        child = self._child = _Child(process, ours)
        if self._closed:  # meanwhile: whoever closed saw no child to end
            process.kill()
        return child

    def _load(self, child: _Child) -> None:
        answer = _whole(child.answer(_LOAD_SECONDS))
        if isinstance(answer, Unusable):
            if answer.fault and (self._takes_cpu or self._provenance):
                raise DeviceFaultError(answer.fault)
            raise ScorerUnusableError(answer.text)
        if not isinstance(answer, Ready):
            raise ScoringFailedError(type(answer).__name__)
        if self._provenance and answer.provenance.digest() != self._provenance.digest():
            raise ScorerChangedError("the weights have changed since the node was started")
        self._provenance, self._most_at_once = answer.provenance, answer.most_at_once

    @contextmanager
    def _ended_on_error(self) -> Iterator[None]:
        """End the child on whatever goes wrong: what it would say next belongs to no question."""
        try:
            yield
        except (EOFError, OSError):
            how = self._drop("scoring process ended", _END_SECONDS)
            raise ScoringEndedError(f"the scoring process ended with {how}") from None
        except ScoringTimeoutError:
            self._drop("scoring process took too long")
            raise
        except BaseException:
            self._drop()
            raise

    def _drop(self, event: str = "", grace_seconds: float = 0.0) -> str:
        """End the child, log why unless the node itself wants it, and return how the process ended."""
        child, self._child = self._child, None
        how = child.end(grace_seconds) if child else ""
        if event and not self._closed:
            _log.error(event, error=how)
        return how


def _whole(answer: object) -> object:
    """Return an answer that is none of a failure."""
    if isinstance(answer, Failed):
        if answer.fault:
            raise DeviceFaultError(answer.fault)
        raise ScoringFailedError(answer.error)
    return answer


@contextmanager
def _no_signals_for_children() -> Iterator[None]:
    """Let a process begun here inherit that SIGINT and SIGTERM are blocked.

    Ctrl-C and service managers signal all processes at once; it is the node that ends the child.
    """
    resource_tracker.ensure_running()  # begun together with the first child, and would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
