"""The receivers that the bench compares, each a process on loopback with a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from dicom_node.demo.child_process import last_lines, running_child
from dicom_node.demo.loopback import LOOPBACK, free_port, get_json

CALLING_AE_TITLE = "BENCH"
_START_SECONDS = 120.0
_DATABASES = ("facenorm", "dbos", "index")


def dcmtk_environment() -> dict[str, str]:
    """Return the environment in which DCMTK's network code, Orthanc's too, disables Nagle's algorithm.

    Without it an object waits once or twice 40 ms for an acknowledgement that TCP delays, which would
    hide how fast a receiver is.
    """
    return {**os.environ, "TCP_NODELAY": "1"}


@dataclass(frozen=True, slots=True)
class RunningReceiver:
    """What takes photographs: its process, port and AE title, and the folder in which its files end up."""

    process: Popen[bytes]
    port: int
    ae_title: str
    folder: Path

    def stored_files(self, least_bytes: int) -> int:
        """Return how many files of at least that size it holds, its database's not counted."""
        files = (p for p in self.folder.rglob("*") if p.is_file() and not p.name.startswith(_DATABASES))
        return sum(1 for path in files if path.stat().st_size >= least_bytes)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let a process that `sleep` halted run within the context."""
        os.killpg(self.process.pid, signal.SIGCONT)
        try:
            yield
        finally:
            self.sleep()

    def sleep(self) -> None:
        """Halt the process and its children, so that they take no share of the machine."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def children_seconds(self) -> float:
        """Return the seconds of processor time that its children, living and ended, have had so far."""
        ticks = sum(_ticks(self.process.pid)[2:])
        for listed in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            for child in listed.read_text().split():
                with suppress(FileNotFoundError, ProcessLookupError):  # ended since it was listed
                    ticks += sum(_ticks(int(child)))
        return ticks / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> tuple[int, ...]:
    """Return proc(5)'s utime and stime of a process, and cutime and cstime of its ended children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return tuple(int(field) for field in fields[11:15])


def missing_program() -> str:
    """Return the name of a peer's program that is not installed, '' when all are there."""
    programs = ("Orthanc", "storescp", "storescu")
    return next((p for p in programs if not program(p)), "")


def program(name: str) -> str:
    """Return where a peer's program is, '' where it is not installed."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin") or ""


@contextmanager
def running_node(folder: Path, scorer: str = "idle") -> Iterator[RunningReceiver]:
    """Run a node. scorer: see `bench.receiving_node`. Raises RuntimeError if it does not start."""
    folder.mkdir(parents=True)
    port, status_port = free_port(), free_port()
    config, log = folder / "facenorm.toml", folder / "node.log"
    config.write_text(
        f'[node]\nport = {port}\n[data]\nfolder = {json.dumps(str(folder / "data"))}\n'
        f'[trigger]\nquiet_seconds = 86400\n[status]\nport = {status_port}\n'
        f'[[senders]]\nae_title = "{CALLING_AE_TITLE}"\nhost = "{LOOPBACK}"\n'
    )  # fmt: skip
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith("FACENORM_") or k == "FACENORM_CACHE"
    }
    command = [sys.executable, "-m", "bench.receiving_node", str(config), scorer]
    with running_child(command, log, environment) as process:
        _wait(process, log, lambda: bool((get_json(status_port, "/health") or {}).get("ready")))
        with _continued(process):
            yield RunningReceiver(process, port, "FACENORM", folder / "data")


@contextmanager
def running_orthanc(folder: Path) -> Iterator[RunningReceiver]:
    """Run Orthanc with its defaults, which sync every file. Raises RuntimeError where it does not start."""
    folder.mkdir(parents=True)
    port, http_port = free_port(), free_port()
    settings = {
        "Name": "facenorm-bench", "DicomAet": "ORTHANC", "DicomPort": port, "HttpPort": http_port,
        "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"),
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomAlwaysAllowStore": True,
        "Plugins": [],
    }  # fmt: skip
    config, log = folder / "orthanc.json", folder / "orthanc.log"
    config.write_text(json.dumps(settings))
    with running_child([program("Orthanc"), str(config)], log, dcmtk_environment()) as process:
        _wait(process, log, lambda: (get_json(http_port, "/system") or {}).get("Name") == "facenorm-bench")
        with _continued(process):
            yield RunningReceiver(process, port, "ORTHANC", folder / "storage")


@contextmanager
def running_storescp(folder: Path, *options: str) -> Iterator[RunningReceiver]:
    """Run DCMTK's storescp, a process per association. Raises RuntimeError where it does not start."""
    (folder / "files").mkdir(parents=True)
    port, log = free_port(), folder / "storescp.log"
    # Without +xa it would refuse JPEG.
    command = [program("storescp"), "--fork", "+xa", *options, "-od", str(folder / "files"), str(port)]
    with running_child(command, log, dcmtk_environment()) as process:
        _wait(process, log, lambda: _listens(port))
        with _continued(process):
            yield RunningReceiver(process, port, "STORESCP", folder / "files")


@contextmanager
def scoring_process(folder: Path, generator: str) -> Iterator[RunningReceiver]:
    """Run a process that scores without end (see `bench.scoring_load`); halted until `awake`."""
    folder.mkdir(parents=True)
    ready, log = folder / "ready", folder / "scoring.log"
    with running_child([sys.executable, "-m", "bench.scoring_load", generator, str(ready)], log) as process:
        _wait(process, log, ready.exists)
        with _continued(process):
            load = RunningReceiver(process, 0, "", folder)
            load.sleep()
            yield load


def _wait(process: Popen[bytes], log: Path, holds: object) -> None:
    deadline = time.monotonic() + _START_SECONDS
    assert callable(holds)
    while not holds():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start; its log ends with:\n{last_lines(log)}")
        time.sleep(0.1)


@contextmanager
def _continued(process: Popen[bytes]) -> Iterator[None]:
    """At the end let a halted process and its children go on, so that they can be stopped."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=2).close()
    except OSError:
        return False
    return True


def storescu_command(receiver: RunningReceiver, files: Sequence[Path], log_config: Path) -> list[str]:
    """Return the command that sends `files` over one association, with new SOP Instance UIDs each time."""
    return [
        program("storescu"), "-lc", str(log_config), "-xy", "+II", "-to", "20", "-td", "120",
        "-aet", CALLING_AE_TITLE, "-aec", receiver.ae_title, LOOPBACK, str(receiver.port),
        *map(str, files),
    ]  # fmt: skip
