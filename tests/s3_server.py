"""An S3 server for tests, over the real protocol: moto's server mode, which pip brings."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import obstore
from obstore.store import S3Store

from tests.peers import LOOPBACK, free_port

BUCKET = "facenorm-test"


@dataclass
class S3Server:
    """moto in a process of its own; what it holds is lost when it stops."""

    port: int = field(default_factory=free_port)
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Return once it answers, with an empty bucket."""
        command = [str(Path(sys.executable).with_name("moto_server")), "-H", LOOPBACK, "-p", str(self.port)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", **self.environment},
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.put(f"{self.endpoint}/{BUCKET}", timeout=5, trust_env=False).raise_for_status()
                return
            except httpx.TransportError:
                assert self.process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(timeout=10)

    def replace(self, key: str, content: bytes) -> None:
        """Change an object behind the node's back."""
        store = S3Store(
            BUCKET,
            config={"aws_endpoint": self.endpoint, "aws_region": "us-east-1"},
            client_options={"allow_http": True},
        )
        obstore.put(store, key, content)


@contextmanager
def running_s3(**environment: str) -> Iterator[S3Server]:
    server = S3Server(environment=environment)
    try:
        server.start()
        yield server
    finally:
        server.stop()
