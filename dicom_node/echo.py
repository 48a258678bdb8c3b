"""C-ECHO to destinations (PS3.4 annex A): whether they are there, apart from whether anything is due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from dicom_node.caller import Caller, Peer
from dicom_node.sender import why_not_established

VERIFICATION = "1.2.840.10008.1.1"


@dataclass(frozen=True, slots=True)
class Echo:
    """When a destination was called, and why it did not answer; None: it did."""

    at: datetime
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Echoes:
    """Calls destinations and remembers each one's last answer, by AE title."""

    caller: Caller
    clock: Callable[[], datetime]
    last: dict[str, Echo] = field(default_factory=dict)

    def call(self, destination: Peer) -> None:
        """Call once; whatever the network does ends in `last`."""
        self.last[destination.ae_title] = Echo(self.clock(), self._why_silent(destination))

    def _why_silent(self, destination: Peer) -> str | None:
        try:
            association = self.caller.associate(destination, [(VERIFICATION, None)])
            if not association.is_established:
                return why_not_established(association).error
            try:
                status = association.send_c_echo()
            finally:
                self.caller.release(association)
        except (OSError, RuntimeError, ValueError):
            return "no_association"
        if "Status" not in status:
            return "association_lost"
        return None if int(status.Status) == 0 else f"status_{int(status.Status):04X}"
