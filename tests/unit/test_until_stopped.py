from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import pytest

from dicom_node.until_stopped import Signals, end


def test_the_process_stops_in_order_where_nobody_reads_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Mock(return_value=True)
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr("sys.stderr", full)
        end("facenorm serve", stop, cut_off="")
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
    stop.assert_called_once()


def test_what_was_asked_to_end_before_it_began_is_given_up_at_once() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    given_up: list[bool] = []
    try:
        signals = Signals()
        signal.raise_signal(signal.SIGTERM)
        with signals.calling(lambda: given_up.append(True)):
            assert given_up == [True]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
