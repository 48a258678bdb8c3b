"""An association waits for what comes; pynetdicom's two threads ask for it a thousand times a second each.

That is what bounded the rate of eight senders at once: with sixteen threads each turn of one costs the others
theirs, since only one has the interpreter. So what a thread asks for is made to wake it.
"""

from __future__ import annotations

import os
import select
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Queue
from typing import Any, Final

from pynetdicom import evt

_LONGEST_REST_SECONDS: Final = 0.1
"""After which a thread looks all the same, for what nobody tells: timers, and threads that have ended."""

# As pynetdicom does, where there is nothing to wait for.
_POLL_SECONDS: Final = 0.001


def wait_when_idle(association: Any, has_read: Callable[[], bool]) -> None:  # noqa: ANN401 -- pynetdicom is untyped
    """Let both threads of an association wait; to be called before the first of them runs.

    has_read: whether something has been taken from the socket that nobody has asked for yet.
    """
    checkpoint = _Checkpoint(association)
    checkpoint.set()
    association._reactor_checkpoint = checkpoint
    association.dimse.msg_queue = checkpoint.queue()
    association.dul.to_user_queue = checkpoint.queue()
    wake = _Wake()
    association.dul.to_provider_queue = _TellingQueue(wake.tell)
    association.dul._is_transport_event = _Transport(association.dul, wake, has_read)
    association.dul._run_loop_delay = 0
    association.bind(evt.EVT_CONN_CLOSE, lambda _event: wake.close())


class _TellingQueue(Queue[Any]):
    """A queue that tells when something was put into it."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ANN401
        """As `Queue.put`."""
        super().put(item, block, timeout)
        self._tell()


class _Checkpoint(threading.Event):
    """Where the association's reactor rests before each turn: until it may go on, and there is cause to.

    The reactor says that it rests (`_is_paused`) before it comes here. It has to say so again: the thread
    that answers an event report ends with the claim that it does not, and others would wait for ever.
    """

    def __init__(self, association: Any) -> None:  # noqa: ANN401 -- pynetdicom is untyped
        super().__init__()
        self._association = association
        self._cause = threading.Event()
        self._queues: list[Queue[Any]] = []

    def queue(self) -> Queue[Any]:
        """Return a queue whose content is a cause."""
        self._queues.append(_TellingQueue(self._cause.set))
        return self._queues[-1]

    def set(self) -> None:
        """Let the reactor go on."""
        super().set()
        self._cause.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Return once the reactor may go on and was told to, or has rested long enough."""
        while True:
            while not super().wait(_LONGEST_REST_SECONDS):
                self._association._is_paused = True
            if all(queue.empty() for queue in self._queues):
                self._cause.wait(_LONGEST_REST_SECONDS)
            self._cause.clear()
            # Who has stopped it meanwhile waits for what it would take away.
            if self.is_set():
                return True
            self._association._is_paused = True


class _Wake:
    """Something that a thread can wait for beside a socket."""

    def __init__(self) -> None:
        self._closing = threading.Lock()
        self._descriptor = -1  # what is closed when there is no other to be had
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor, or -1 once it is closed."""
        return self._descriptor

    def tell(self) -> None:
        """Wake who waits."""
        with self._closing:  # or the number might be another file's by now
            if self._descriptor >= 0:
                os.eventfd_write(self._descriptor, 1)

    def forget(self) -> None:
        """Take back what was told."""
        with self._closing, suppress(BlockingIOError):
            if self._descriptor >= 0:
                os.eventfd_read(self._descriptor)

    def close(self) -> None:
        """Give the descriptor back; nobody is woken any more."""
        with self._closing:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


class _Transport:
    """Stands for `DULServiceProvider._is_transport_event`: waits for the peer, or for what is to be sent."""

    def __init__(self, dul: Any, wake: _Wake, has_read: Callable[[], bool]) -> None:  # noqa: ANN401
        self._dul, self._wake, self._has_read = dul, wake, has_read
        self._is_event = dul._is_transport_event

    def __call__(self) -> bool:
        if self._has_read():
            self._dul._read_pdu_data()
            return True
        if not self._dul.event_queue.empty():  # which is looked at next
            return bool(self._is_event())
        transport = self._dul.socket
        # In Sta13 the connection is about to be closed by us.
        if transport and transport.socket and self._dul.state_machine.current_state != "Sta13":
            self._wait(transport.socket)
        else:
            time.sleep(_POLL_SECONDS)
        return bool(self._is_event())

    def _wait(self, connection: Any) -> None:  # noqa: ANN401
        secured = isinstance(connection, ssl.SSLSocket)
        if connection.fileno() < 0 or (secured and connection.pending()):
            return
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        if any(
            descriptor == self._wake.fileno() for descriptor, _ in poll.poll(_LONGEST_REST_SECONDS * 1000)
        ):
            self._wake.forget()
