from __future__ import annotations

import signal

from dicom_node.until_stopped import Signals


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
