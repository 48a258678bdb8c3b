"""Ports and small HTTP requests on this machine's loopback address."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

LOOPBACK: Final = "127.0.0.1"
_TIMEOUT_SECONDS = 20.0


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


def get_bytes(port: int, path: str) -> bytes | None:
    """Return the body of a 200 answer to GET `path`; None for any other answer, or none."""
    connection = HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status == 200 else None


def get_json(port: int, path: str) -> Any:  # noqa: ANN401 -- whatever the server says
    """Return the JSON of a 200 answer to GET `path`; None for any other answer, or none."""
    body = get_bytes(port, path)
    try:
        return None if body is None else json.loads(body)
    except ValueError:
        return None
