from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from dicom_node.chores import Chores


def test_a_chore_that_raises_is_counted_and_runs_again() -> None:
    turns = threading.Semaphore(0)

    def fail() -> None:
        turns.release()
        raise OSError("the disk is away")

    chores = Chores({"sweep": (0.05, fail)})
    chores.start()
    for _ in range(3):
        assert turns.acquire(timeout=10)
    assert chores.stop(seconds=5)
    assert chores.failures == {("sweep", "OSError"): chores.failures["sweep", "OSError"]}
    assert chores.failures["sweep", "OSError"] >= 3
    assert chores.failing == {"sweep"}


def test_a_chore_that_goes_well_again_is_failing_no_more() -> None:
    turns, went_well = threading.Semaphore(0), threading.Event()

    def fail_once() -> None:
        turns.release()
        if not went_well.is_set():
            went_well.set()
            raise OSError("the disk is away")

    chores = Chores({"sweep": (0.05, fail_once)})
    chores.start()
    for _ in range(3):
        assert turns.acquire(timeout=10)
    assert chores.stop(seconds=5)
    assert chores.failing == frozenset()


def test_a_long_chore_never_overlaps_with_itself_and_holds_up_no_other() -> None:
    running, most = 0, 0
    others = threading.Semaphore(0)
    release = threading.Event()

    def long() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        release.wait(10)
        running -= 1

    chores = Chores({"long": (0.05, long), "other": (0.05, others.release)})
    chores.start()
    for _ in range(5):
        assert others.acquire(timeout=10)
    assert (running, most) == (1, 1)
    began = time.monotonic()
    assert not chores.stop(seconds=0.2)
    assert time.monotonic() - began < 5
    release.set()
    assert chores.stop(seconds=10)
    assert most == 1


def test_a_chore_that_is_exchanged_is_done_no_more_and_the_others_go_on() -> None:
    old, new, other = (threading.Semaphore(0) for _ in range(3))
    chores = Chores({"old": (0.05, old.release), "other": (0.05, other.release)})
    chores.start()
    assert old.acquire(timeout=10)
    chores.exchange(["old"], {"new": (0.05, new.release), "further": (0.05, lambda: None)})
    for _ in range(3):
        assert new.acquire(timeout=10)
    while old.acquire(blocking=False):
        pass
    assert not old.acquire(timeout=0.2)
    while other.acquire(blocking=False):
        pass
    assert other.acquire(timeout=10)
    assert chores.stop(seconds=5)


# A clock that is set after the first turns; the seconds by which are the argument.
_SET_CLOCK = """
import datetime, resource, sys, threading, time

resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
jump, told = float(sys.argv[1]), [0.0]
seconds, real = time.time, datetime.datetime


class Told(real):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(seconds() + told[0], tz)


time.time, datetime.datetime = lambda: seconds() + told[0], Told

from dicom_node.chores import Chores

turns = threading.Semaphore(0)
chores = Chores({"sweep": (0.05, turns.release)})
chores.start()
assert turns.acquire(timeout=10)
told[0] = jump
while turns.acquire(blocking=False):
    pass
for _ in range(5):
    assert turns.acquire(timeout=10), "the chore waits for the clock"
assert chores.stop(seconds=5)
"""


@pytest.mark.parametrize("seconds", [-86_400.0, 10 * 365 * 86_400.0], ids=["back", "ahead"])
def test_a_clock_that_is_set_holds_up_no_chore(seconds: float) -> None:
    subprocess.run([sys.executable, "-c", _SET_CLOCK, str(seconds)], check=True, timeout=60)
