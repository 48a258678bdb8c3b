"""What lets an association's threads wait: they go on when there is cause to, and only when they may."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from dicom_node.idle_association import _Checkpoint, _Wake
from tests.receiving import association, photograph, running_receiver, send


def returned(checkpoint: _Checkpoint, seconds: float) -> bool:
    """Whether a wait at the checkpoint, begun now in another thread, ends within `seconds`."""
    thread = threading.Thread(target=checkpoint.wait, daemon=True)
    thread.start()
    thread.join(seconds)
    ended = not thread.is_alive()
    checkpoint.set()  # let it go
    thread.join(5)
    return ended


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_reactor_that_is_stopped_does_not_go_on_whatever_there_is_to_do() -> None:
    checkpoint = _Checkpoint(SimpleNamespace(_is_paused=True))
    checkpoint.queue().put("a message")
    assert not returned(checkpoint, 0.3)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_message_lets_it_go_on(when: str) -> None:
    checkpoint = _Checkpoint(SimpleNamespace(_is_paused=True))
    checkpoint.set()
    checkpoint.wait()  # takes the cause that setting it is
    queue = checkpoint.queue()
    if when == "before":
        queue.put("a message")
    else:
        threading.Timer(0.02, queue.put, ["a message"]).start()
    assert returned(checkpoint, 5)
    assert queue.get(block=False) == "a message"


def test_two_messages_are_two_turns() -> None:
    checkpoint = _Checkpoint(SimpleNamespace(_is_paused=True))
    checkpoint.set()
    queue = checkpoint.queue()
    queue.put("first")
    queue.put("second")
    for expected in ("first", "second"):
        assert checkpoint.wait()
        assert queue.get(block=False) == expected


def test_without_cause_it_goes_on_after_a_rest() -> None:
    checkpoint = _Checkpoint(SimpleNamespace(_is_paused=True))
    checkpoint.set()
    checkpoint.wait()
    assert returned(checkpoint, 5)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_resting_reactor_says_again_that_it_rests(stopped: bool) -> None:
    """The thread that answers an event report ends with saying that it does not."""
    association_ = SimpleNamespace(_is_paused=True)
    checkpoint = _Checkpoint(association_)
    if not stopped:
        checkpoint.set()
        checkpoint.wait()  # takes the cause that setting it is
    thread = threading.Thread(target=checkpoint.wait, daemon=True)
    thread.start()
    time.sleep(0.02)
    association_._is_paused = False
    checkpoint.clear()
    deadline = time.monotonic() + 5
    while not association_._is_paused and time.monotonic() < deadline:
        time.sleep(0.01)
    assert association_._is_paused
    checkpoint.set()
    thread.join(5)
    assert not thread.is_alive()


def test_a_closed_wake_wakes_nobody_and_no_other_file() -> None:
    wake = _Wake()
    number = wake.fileno()
    wake.close()
    wake.close()
    assert wake.fileno() == -1
    read, write = os.pipe()
    try:
        if number not in (read, write):
            os.dup2(write, number)
        wake.tell()
        wake.forget()
        os.set_blocking(read, False)
        with pytest.raises(BlockingIOError):
            os.read(read, 8)
    finally:
        for descriptor in {read, write, number}:
            os.close(descriptor)


def test_associations_give_their_descriptors_back(tmp_path: Path) -> None:
    with running_receiver(tmp_path) as receiver:
        send(receiver, photograph())
        before = descriptors()
        for _ in range(10):
            with association(receiver) as opened:
                assert opened.is_established
        deadline = time.monotonic() + 10
        while descriptors() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert descriptors() <= before
