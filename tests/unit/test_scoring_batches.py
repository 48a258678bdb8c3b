"""Photographs that wait for the scorer at the same time go to it together, and fail alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dicom_node.scoring_batches import ScoringBatches
from dicom_node.scoring_process import DeviceFailedError, ScoringEndedError
from pipeline.result import Provenance, Rejection, RejectionReason, Scored
from tests.integration.running_node import wait_until
from tests.sample_score import provenance


@dataclass
class _Scorer:
    """Rejects everything, with the path for a reason, once it may; ends at a path called "crash"."""

    most_at_once: int = 4
    lost: bool = False
    batches: list[list[str]] = field(default_factory=list)
    begun: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def provenance(self) -> Provenance:
        return provenance()

    def score_files(self, paths: Sequence[Path]) -> list[Scored | Rejection]:
        self.batches.append([str(path) for path in paths])
        self.begun.set()
        assert self.go_on.wait(20)
        if self.lost:
            raise DeviceFailedError
        if any(path.name == "crash" for path in paths):
            raise ScoringEndedError
        return [Rejection(RejectionReason.NO_FACE, str(path)) for path in paths]

    def blend_file(self, path: Path, normalized: np.ndarray) -> np.ndarray:
        return normalized


def _told(results: Sequence[Scored | Rejection | Exception]) -> list[str]:
    return [one.detail if isinstance(one, Rejection) else type(one).__name__ for one in results]


@dataclass
class _Studies:
    """Studies in threads of their own, which wait for the scorer."""

    batches: ScoringBatches
    threads: list[threading.Thread] = field(default_factory=list)
    results: dict[str, list[str]] = field(default_factory=dict)

    def ask(self, *names: str) -> None:
        def score() -> None:
            self.results[names[0]] = _told(self.batches.score_files([Path(name) for name in names]))

        self.threads.append(threading.Thread(target=score))
        self.threads[-1].start()

    def wait(self) -> None:
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()


def _asked_while_busy(scorer: _Scorer, *studies: tuple[str, ...]) -> dict[str, list[str]]:
    """Have the first study find the scorer free, and the others wait for it in their order."""
    asking = _Studies(ScoringBatches(scorer))
    asking.ask(*studies[0])
    assert scorer.begun.wait(20)
    for number, study in enumerate(studies[1:], 2):
        asking.ask(*study)
        expected = sum(len(one) for one in studies[1:number])
        wait_until(lambda e=expected: len(asking.batches._waiting) == e, 20, "the study to wait")
    scorer.go_on.set()
    asking.wait()
    return asking.results


def test_what_waits_while_the_scorer_is_busy_is_scored_together() -> None:
    scorer = _Scorer()
    results = _asked_while_busy(scorer, ("a",), ("b", "c"), ("d",), ("e", "f"))
    assert scorer.batches == [["a"], ["b", "c", "d", "e"], ["f"]]
    assert results == {"a": ["a"], "b": ["b", "c"], "d": ["d"], "e": ["e", "f"]}


def test_one_at_a_time_where_the_device_gains_nothing_from_more() -> None:
    scorer = _Scorer(most_at_once=1)
    _asked_while_busy(scorer, ("a",), ("b", "c"), ("d",))
    assert scorer.batches == [["a"], ["b"], ["c"], ["d"]]


def test_a_photograph_that_ends_the_scorer_fails_alone() -> None:
    scorer = _Scorer()
    results = _asked_while_busy(scorer, ("a",), ("b", "crash"), ("d",))
    assert results == {"a": ["a"], "b": ["b", "ScoringEndedError"], "d": ["d"]}
    assert scorer.batches == [["a"], ["b", "crash", "d"], ["b"], ["crash"], ["d"]]


def test_a_device_that_fails_fails_for_all_and_is_not_asked_again() -> None:
    scorer = _Scorer(lost=True)
    results = _asked_while_busy(scorer, ("a",), ("b", "c"))
    assert results == {"a": ["DeviceFailedError"], "b": ["DeviceFailedError"] * 2}
    assert scorer.batches == [["a"], ["b", "c"]]
