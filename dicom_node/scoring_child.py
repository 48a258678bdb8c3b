"""What runs in the scoring process: questions about photographs in, answers out, until the node is gone.

Nothing else crosses: the child opens no database, writes no file and talks to no peer.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import MappingProxyType

import numpy as np
import structlog
from numpy.typing import NDArray

from dicom_node.logs import innermost
from dicom_node.scorer_loading import Scorer, ScorerUnusableError
from pipeline.result import Provenance, Rejection, Scored

_log = structlog.get_logger(__name__)

# Receiving, sending and the archive on the same machine come first.
NICENESS = 10
# Out of memory, the kernel shall end the child, which is started again, rather than the node.
_OOM_SCORE = "500"


@dataclass(frozen=True, slots=True)
class Ready:
    """The weights are loaded."""

    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Unusable:
    """No scorer can be made of the settings; `text` says what to do."""

    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The scorer raised: the class of the error, whose text may quote a dataset and stays here."""

    error: str


@dataclass(frozen=True, slots=True)
class ToScore:
    """Asks for `Scorer.score_file`."""

    path: Path

    def answer(self, scorer: Scorer) -> Scored | Rejection:
        """Return what the scorer says."""
        return scorer.score_file(self.path)


@dataclass(frozen=True, slots=True)
class ToBlend:
    """Asks for `Scorer.blend_file`."""

    path: Path
    normalized: NDArray[np.uint8]

    def answer(self, scorer: Scorer) -> NDArray[np.uint8]:
        """Return what the scorer says."""
        return scorer.blend_file(self.path, self.normalized)


def _frozen(mapping: dict[object, object]) -> MappingProxyType[object, object]:
    return MappingProxyType(mapping)


def _by_its_content(mapping: MappingProxyType[object, object]) -> tuple[Callable[..., object], tuple[object]]:
    return _frozen, (dict(mapping),)


# The frozen mappings of a result, which pickle does not know.
ForkingPickler.register(MappingProxyType, _by_its_content)


def score_for_the_node(
    connection: Connection, factory: Callable[[], Scorer], prepare_logs: Callable[[], None]
) -> None:
    """Make the scorer, send `Ready`, then answer every question; the main function of the child.

    Ends when the node closes the connection, and after a failure: what a library was left in
    by an error that nobody expected, a CUDA context for one, is not used again.
    """
    _end_with_the_node()
    _prepare_for_the_worst()
    prepare_logs()
    try:
        scorer = factory()
    except ScorerUnusableError as error:
        connection.send(Unusable(str(error)))
        return
    except Exception as error:
        connection.send(_failure("loading failed", error))
        return
    _stand_back()
    connection.send(Ready(scorer.provenance))
    with suppress(EOFError):
        while True:
            question: ToScore | ToBlend = connection.recv()
            try:
                answer = question.answer(scorer)
            except Exception as error:
                connection.send(_failure("scoring failed", error))
                return
            connection.send(answer)


def _failure(event: str, error: Exception) -> Failed:
    kind = type(error).__name__
    _log.error(event, error=kind, where=innermost(error.__traceback__))
    return Failed(kind)


def _end_with_the_node() -> None:
    """Have the kernel kill this process when the node's ends, however it ends.

    The node's end of a pipe closes with it, and the kernel signals that. A thread that waited for the same
    would not come to its turn while native code holds the interpreter's lock.
    """
    node = multiprocessing.parent_process()
    if node is None:
        raise RuntimeError("the scoring process must be a child of the node")
    fcntl.fcntl(node.sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(node.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(node.sentinel, fcntl.F_GETFL)
    fcntl.fcntl(node.sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)
    if wait([node.sentinel], timeout=0):
        os._exit(1)  # it ended before the signal was arranged


def _stand_back() -> None:
    """Lower the priority, once the weights are loaded: a node on a busy machine shall be ready soon."""
    niceness = os.nice(0) + NICENESS
    for thread in Path("/proc/self/task").iterdir():  # a priority is a thread's; new ones inherit it
        os.setpriority(os.PRIO_PROCESS, int(thread.name), niceness)


def _prepare_for_the_worst() -> None:
    # A crash must not leave a photograph in a core file.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
