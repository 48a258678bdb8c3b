"""One of several processes is elected, and another one when it dies."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from storage.database import open_database
from tests.integration.running_node import wait_until

_CONTENDER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from storage.database import connect, sessions
from storage.leases import hold_lease
made = sessions(connect(sys.argv[1]))
name, turns = sys.argv[2], Path(sys.argv[3])
for _ in range(600):
    if hold_lease(made, "housekeeping", name, now=datetime.now(UTC), seconds=1.5):
        with turns.open("a") as file:
            file.write(f"{name}\\n")
    time.sleep(0.1)
"""


def test_another_process_is_elected_when_the_first_is_killed(tmp_path: Path, database_url: str) -> None:
    open_database(database_url).dispose()
    turns = tmp_path / "turns"
    turns.touch()

    def said() -> list[str]:
        return turns.read_text().split()

    contenders = {
        name: subprocess.Popen([sys.executable, "-c", _CONTENDER, database_url, name, str(turns)])
        for name in ("one", "other")
    }
    try:
        wait_until(lambda: len(said()) >= 15, 60, "turns of the elected process")
        (elected,) = set(said())  # never both
        contenders[elected].kill()
        contenders[elected].wait(timeout=10)
        before, killed = len(said()), time.monotonic()
        wait_until(lambda: len(said()) > before + 3, 30, "a new election")
        assert set(said()[before:]) == set(contenders) - {elected}
        assert time.monotonic() - killed < 20
    finally:
        for process in contenders.values():
            process.kill()
            process.wait(timeout=10)
