"""An S3 server for tests, over the real protocol: moto's server mode, which pip brings."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
                httpx.put(
                    f"{self.endpoint}/{BUCKET}", timeout=5, trust_env=False, verify=False
                ).raise_for_status()
                return
            except httpx.TransportError:
                assert self.process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(timeout=10)

    def user(self, name: str, *actions: str) -> dict[str, str]:
        """Make a user who may do these things, such as `s3:PutObject`; return the environment for it.

        Of use where `INITIAL_NO_AUTH_ACTION_COUNT` makes moto look at credentials after so many requests.
        """
        policy = {"Statement": {"Effect": "Allow", "Action": list(actions), "Resource": "*"}}
        self._identity("CreateUser", UserName=name)
        document = json.dumps(policy | {"Version": "2012-10-17"})
        self._identity("PutUserPolicy", UserName=name, PolicyName="all", PolicyDocument=document)
        answer = self._identity("CreateAccessKey", UserName=name)
        found = dict(re.findall(r"<(AccessKeyId|SecretAccessKey)>([^<]+)<", answer))
        return {
            "AWS_ACCESS_KEY_ID": found["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": html.unescape(found["SecretAccessKey"]),
        }

    def _identity(self, action: str, **parameters: str) -> str:
        # moto takes from the scope of a credential which service is meant.
        scope = "Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0"
        answer = httpx.post(
            self.endpoint,
            data={"Action": action, "Version": "2010-05-08", **parameters},
            headers={"Authorization": f"AWS4-HMAC-SHA256 {scope}"},
            timeout=5,
            trust_env=False,
            verify=False,
        )
        return answer.raise_for_status().text


@dataclass(frozen=True, slots=True)
class Place:
    """A part of the bucket for one test, as a node's settings name it."""

    server: S3Server
    prefix: str = field(default_factory=lambda: f"test/{uuid.uuid4().hex}")
    bucket: str = BUCKET
    timeout_seconds: float = 2.0

    @property
    def data(self) -> dict[str, Any]:
        """Keys of the section `data`."""
        return {
            "files_url": f"s3://{self.bucket}/{self.prefix}",
            "files_endpoint": self.server.endpoint,
            "files_region": "us-east-1",
            "files_timeout_seconds": self.timeout_seconds,
        }

    @property
    def lines(self) -> str:
        """The same as lines of TOML."""
        return "\n".join(f"{key} = {json.dumps(value)}" for key, value in self.data.items())

    def paths(self, kind: str = "") -> list[str]:
        """Return the paths of all objects, or of those of a kind."""
        found = (item["path"] for page in obstore.list(self._store()) for item in page)
        return sorted(path for path in found if path.startswith(kind))

    def put(self, path: str, content: bytes) -> None:
        """Make or change an object behind the node's back."""
        obstore.put(self._store(), path, content)

    def get(self, path: str) -> bytes:
        return bytes(obstore.get(self._store(), path).bytes())

    def delete(self, path: str) -> None:
        obstore.delete(self._store(), path)

    def _store(self) -> S3Store:
        return S3Store(
            self.bucket,
            prefix=self.prefix,
            config={"endpoint": self.server.endpoint, "region": "us-east-1"},
            client_options={"allow_http": True},
        )


@contextmanager
def running_s3(**environment: str) -> Iterator[S3Server]:
    server = S3Server(environment=environment)
    try:
        server.start()
        yield server
    finally:
        server.stop()
