"""The node as the demo runs it: a real `facenorm serve` in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_node.demo.archive import AE_TITLE as ARCHIVE_AE_TITLE
from dicom_node.demo.child_process import last_lines, running_child
from dicom_node.demo.loopback import LOOPBACK, free_port, get_json
from dicom_node.demo.problem import DemoError

NODE_AE_TITLE: Final = "FACENORM"
CAMERA_AE_TITLE: Final = "DEMO-CAMERA"
_QUIET_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """A node's process, where it listens, and where it logs; a destination in the sense of the sender."""

    process: subprocess.Popen[bytes]
    port: int
    status_port: int
    log: Path
    host: str = LOOPBACK
    ae_title: str = NODE_AE_TITLE
    tls: bool = False

    def check(self) -> None:
        """Raise DemoError where the process has ended."""
        if self.process.poll() is not None:
            raise DemoError(
                f"the node ended with status {self.process.returncode}; its log ends with:\n"
                f"{last_lines(self.log)}"
            )

    def wait_until_ready(self, deadline: float) -> None:
        """Return once it receives and scores; deadline: of `time.monotonic`. Raises DemoError."""
        while not (get_json(self.status_port, "/health") or {}).get("ready"):
            self.check()
            if time.monotonic() > deadline:
                raise DemoError("the node was not ready in time")
            time.sleep(0.2)


@contextmanager
def running_node(folder: Path, archive_port: int, scoring: Mapping[str, str]) -> Iterator[NodeProcess]:
    """Start `facenorm serve` with its settings, log and data in `folder`; stop it at the end.

    scoring: what section [scoring] of the settings says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, status_port = free_port(), free_port()
    config, log = folder / "facenorm.toml", folder / "node.log"
    config.write_text(_settings(folder / "data", port, status_port, archive_port, scoring), "utf-8")
    code = "from dicom_node.cli import app; app(prog_name='facenorm')"
    command = [sys.executable, "-c", code, "serve", "--config", str(config)]
    with running_child(command, log, _environment()) as process:
        yield NodeProcess(process, port, status_port, log)


def _settings(data: Path, port: int, status_port: int, archive_port: int, scoring: Mapping[str, str]) -> str:
    lines = "\n".join(f"{key} = {_quoted(value)}" for key, value in scoring.items())
    return f"""# Written by `facenorm demo`.
[node]
ae_title = "{NODE_AE_TITLE}"
host = "{LOOPBACK}"
port = {port}

[data]
folder = {_quoted(str(data))}

[trigger]
quiet_seconds = {_QUIET_SECONDS}

[scoring]
{lines}

[delivery]
first_retry_seconds = 1.0
max_retry_seconds = 10.0

[status]
host = "{LOOPBACK}"
port = {status_port}

[[senders]]
ae_title = "{CAMERA_AE_TITLE}"
host = "{LOOPBACK}"

[[destinations]]
ae_title = "{ARCHIVE_AE_TITLE}"
host = "{LOOPBACK}"
port = {archive_port}
"""


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's.
    return json.dumps(text, ensure_ascii=False)


def _environment() -> dict[str, str]:
    """Return the environment without what would override the demo's settings."""
    return {k: v for k, v in os.environ.items() if not k.startswith("FACENORM_") or k == "FACENORM_CACHE"}
