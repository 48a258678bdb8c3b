"""What runs in the scoring process: questions about photographs in, answers out, until the node is gone.

Nothing else crosses: the child opens no database, writes no file and talks to no peer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import MappingProxyType

import numpy as np
import structlog
from numpy.typing import NDArray

from dicom_node.core_file import leave_no_core_file
from dicom_node.logs import innermost
from dicom_node.scorer_loading import Scorer, ScorerFactory, ScorerUnusableError
from pipeline.computation import DeviceFault, DeviceFaultError
from pipeline.parent_process import end_with_parent
from pipeline.result import Provenance, Rejection, Scored

_log = structlog.get_logger(__name__)

# Receiving, sending and the archive on the same machine come first.
NICENESS = 10
# Out of memory, the kernel shall end the child, which is started again, rather than the node.
_OOM_SCORE = "500"


@dataclass(frozen=True, slots=True)
class Ready:
    """The weights are loaded. most_at_once: see `Scorer`."""

    provenance: Provenance
    most_at_once: int


@dataclass(frozen=True, slots=True)
class Unusable:
    """No scorer can be made of the settings; `text` says what to do. fault: of the device."""

    text: str
    fault: DeviceFault | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The scorer raised: the class of the error, whose text may quote a dataset and stays here.

    fault: of the device, where that is why.
    """

    error: str
    fault: DeviceFault | None


@dataclass(frozen=True, slots=True)
class Results:
    """What the photographs asked for came to, in their order, and what `Scorer.most_at_once` is now."""

    results: tuple[Scored | Rejection, ...]
    most_at_once: int


@dataclass(frozen=True, slots=True)
class ToScore:
    """Asks for `Scorer.score_files`."""

    paths: tuple[Path, ...]

    def answer(self, scorer: Scorer) -> Results:
        """Return what the scorer says."""
        results = scorer.score_files(self.paths)
        return Results(tuple(results), scorer.most_at_once)


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
    connection: Connection,
    factory: ScorerFactory,
    after: DeviceFault | None,
    prepare_logs: Callable[[], None],
) -> None:
    """Make the scorer, send `Ready`, then answer every question; the main function of the child.

    Ends when the node closes the connection, and after a failure: what a library was left in
    by an error that nobody expected, a CUDA context for one, is not used again.
    """
    end_with_parent()
    _prepare_for_the_worst()
    prepare_logs()
    try:
        # The ordinary way without an argument: what makes a scorer need not know of faults.
        scorer = factory(after=after) if after else factory()
    except ScorerUnusableError as error:
        connection.send(Unusable(str(error), error.fault))
        return
    except Exception as error:
        connection.send(_failure("loading failed", error))
        return
    _stand_back()
    connection.send(Ready(scorer.provenance, scorer.most_at_once))
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
    return Failed(kind, error.fault if isinstance(error, DeviceFaultError) else None)


def _stand_back() -> None:
    """Lower the priority, once the weights are loaded: a node on a busy machine shall be ready soon."""
    niceness = os.nice(0) + NICENESS
    for thread in Path("/proc/self/task").iterdir():  # a priority is a thread's; new ones inherit it
        os.setpriority(os.PRIO_PROCESS, int(thread.name), niceness)


def _prepare_for_the_worst() -> None:
    leave_no_core_file()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
