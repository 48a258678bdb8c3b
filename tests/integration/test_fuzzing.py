"""The receiver under hostile input: it stays up and small, and serves the next photograph."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.consistency import inspect_store
from storage.database import sessions
from storage.instances import InstanceStore
from storage.tables import Photograph
from tests.figures import note
from tests.fuzzing import attack, case
from tests.integration.running_node import wait_until
from tests.receiving import RunningReceiver, photograph, receiving_process, send

_SERVING = """
import os, sys, time
from pathlib import Path
from dicom_node.logs import configure_logs, watch_threads
from tests.receiving import receiver_settings, running_receiver
configure_logs(receiver_settings(Path(sys.argv[1])))
watch_threads()
os.chdir(sys.argv[3])
with running_receiver(Path(sys.argv[1]), node={"maximum_associations": 50}) as receiver:
    Path(sys.argv[2]).write_text(str(receiver.port))
    time.sleep(3600)
"""
_CLIENTS = 4
_ROUND = 200
# The largest object that is let in, twice (as it came, and inflated), and what Python keeps for later.
_MEMORY_GROWTH_BYTES = 800_000_000


@contextmanager
def _victim(tmp_path: Path) -> Iterator[tuple[RunningReceiver, subprocess.Popen[bytes]]]:
    folder, port_file, elsewhere = tmp_path / "data", tmp_path / "port", tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-c", _SERVING, str(folder), str(port_file), str(elsewhere)]
    with (tmp_path / "log").open("wb") as log, receiving_process(command, folder, port_file, log) as running:
        yield running


def _memory(process: subprocess.Popen[bytes], what: str = "VmRSS") -> int:
    """Return a size of the process in bytes."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


def _files(process: subprocess.Popen[bytes]) -> int:
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def _threads(process: subprocess.Popen[bytes]) -> int:
    return len(list(Path(f"/proc/{process.pid}/task").iterdir()))


def _fuzz(tmp_path: Path, *, cases: int, seed: int) -> None:
    endings: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    slowest: list[float] = []

    def one(number: int) -> None:
        attacked = case(seed, number)
        kinds[attacked.kind] += 1
        began = time.monotonic()
        endings[attack(receiver.port, attacked)] += 1
        slowest.append(time.monotonic() - began)

    with _victim(tmp_path) as (receiver, process), ThreadPoolExecutor(_CLIENTS) as clients:
        assert send(receiver, photograph()) == [0x0000]
        around = _outside(tmp_path)
        memory, files, threads = _memory(process), _files(process), _threads(process)
        began = time.monotonic()
        good = 0
        for start in range(0, cases, _ROUND):
            list(clients.map(one, range(start, min(start + _ROUND, cases))))
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            assert send(receiver, photograph()) == [0x0000]
            good += 1
        seconds = time.monotonic() - began
        wait_until(lambda: _files(process) <= files and _threads(process) <= threads, 60, "open ones to end")
        grown, peak = _memory(process) - memory, _memory(process, "VmHWM")
        note(
            "fuzzing",
            cases=cases,
            seed=seed,
            seconds=round(seconds),
            slowest_case_seconds=round(max(slowest), 1),
            endings=dict(sorted(endings.items())),
            kinds=dict(sorted(kinds.items())),
            good_photographs_between=good,
            memory_mib={"start": memory >> 20, "most": peak >> 20, "end": (memory + grown) >> 20},
            open_files={"start": files, "end": _files(process)},
            threads={"start": threads, "end": _threads(process)},
        )
        assert grown < _MEMORY_GROWTH_BYTES
        assert _outside(tmp_path) == around
        assert not list((tmp_path / "elsewhere").iterdir())
        log = (tmp_path / "log").read_text(errors="replace")
        assert "Traceback" not in log
        assert "thread failed" not in log
        assert "TEST^PATIENT" not in log
        assert inspect_store(sessions(receiver.engine), InstanceStore(receiver.folder)) == []
        assert len(receiver.rows(Photograph)) > good


def _outside(tmp_path: Path) -> set[str]:
    """Return what lies around the data folder, where a path in a UID would lead to."""
    places = (tmp_path, tmp_path.parent, Path("/etc"), Path("/"))
    found = {str(path) for place in places for path in place.iterdir()}
    return {
        path
        for path in found | {str(p) for p in Path("/tmp").glob("facenorm-was-here*")}
        if "pytest" not in path
    }


def test_a_few_hundred_hostile_cases(tmp_path: Path) -> None:
    _fuzz(tmp_path, cases=250, seed=11)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_ten_thousand_hostile_cases(tmp_path: Path) -> None:
    _fuzz(tmp_path, cases=12_000, seed=2026)
