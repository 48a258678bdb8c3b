"""The core file that a crash would leave: all of a process's memory, photographs and names included."""

from __future__ import annotations

import resource


def leave_no_core_file() -> None:
    """Let a crash of this process, or of one that it starts, write none, also where the system allows it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
