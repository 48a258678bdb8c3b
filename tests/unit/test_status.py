from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from threading import Event
from time import sleep

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from dicom_node.status import Check, StatusServer, build_app
from tests.plain_http import get

TOKEN = "a-token-for-these-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@contextmanager
def _server(**checks: Check) -> Iterator[tuple[StatusServer, CollectorRegistry]]:
    registry = CollectorRegistry()
    app = build_app(registry, checks, token=lambda: TOKEN, page=lambda patients: f"<p>{patients}</p>")
    server = StatusServer(app, host="127.0.0.1", port=0)
    server.start()
    try:
        yield server, registry
    finally:
        server.stop()


def _get(server: StatusServer, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return get(f"http://127.0.0.1:{server.port}{path}", headers=headers)


def test_ready_when_every_check_passes() -> None:
    with _server(receiver=lambda: None, scorer=lambda: None) as (server, _):
        answer = _get(server, "/health")
    assert (answer.status_code, answer.json()) == (200, {"live": True, "ready": True, "reasons": {}})


def test_not_ready_names_the_reasons_and_never_their_data() -> None:
    def broken() -> str | None:
        raise OSError("TEST^PATIENT")

    with _server(receiver=lambda: None, database=broken, scorer=lambda: "loading") as (server, _):
        answer = _get(server, "/health")
        live = _get(server, "/health/live")
    assert answer.status_code == 503
    assert answer.json() == {
        "live": True,
        "ready": False,
        "reasons": {"database": "OSError", "scorer": "loading"},
    }
    assert live.status_code == 200


def test_it_lives_while_everybody_waits_for_a_database_that_hangs() -> None:
    answered = Event()

    def hanging() -> str | None:
        answered.wait(20)
        return None

    with _server(database=hanging) as (server, _), ThreadPoolExecutor(50) as waiting:
        for _ in range(50):
            waiting.submit(_get, server, "/health")
        try:
            sleep(0.5)
            assert _get(server, "/health/live").status_code == 200
        finally:
            answered.set()


def test_metrics_come_from_the_registry_that_was_passed_in() -> None:
    with _server() as (server, registry):
        Counter("ours", "of this test", registry=registry).inc(3)
        answer = _get(server, "/metrics", BEARER)
    assert "ours_total 3.0" in answer.text
    assert "python_gc" not in answer.text


def test_a_taken_port_raises_and_a_stopped_server_frees_it() -> None:
    with _server() as (server, registry):
        with pytest.raises(OSError, match="in use"):
            StatusServer(build_app(registry, {}), host="127.0.0.1", port=server.port)
        _get(server, "/health")
    again = StatusServer(build_app(CollectorRegistry(), {}), host="127.0.0.1", port=server.port)
    again.stop()


@pytest.mark.parametrize(
    "said", [b"", b"GET /health HTTP/1.1\r\nHost: node\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"]
)
def test_who_does_not_ask_in_time_is_cut_off(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr("dicom_node.status._CONNECTION_SECONDS", 0.2)
    with _server() as (server, _), socket.create_connection(("127.0.0.1", server.port), timeout=10) as silent:
        silent.sendall(said)
        with suppress(ConnectionResetError):
            while silent.recv(4096):
                pass


def test_more_connections_than_anybody_needs_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_node.status._MOST_CONNECTIONS", 2)
    with _server() as (server, _), ExitStack() as open_ones:
        first, second, third = (
            open_ones.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            for _ in range(3)
        )
        with suppress(ConnectionResetError):
            assert third.recv(1) == b""
        for kept in (first, second):
            kept.sendall(b"GET /health/live HTTP/1.1\r\nHost: node\r\n\r\n")
            assert kept.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", ["/metrics", "/"])
def test_everything_but_health_wants_the_token(path: str) -> None:
    with _server() as (server, _):
        for wrong in ({}, {"Authorization": "Bearer another-token-by-far"}, {"Authorization": "Basic !!"}):
            refused = _get(server, path, wrong)
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"] == 'Basic realm="facenorm"'
        assert _get(server, path, BEARER).status_code == 200
        # As a browser gives it.
        basic = get(f"http://127.0.0.1:{server.port}{path}", auth=("anybody", TOKEN))
        assert basic.status_code == 200
        assert _get(server, "/health").status_code == 200


def test_without_a_token_there_is_health_and_nothing_else() -> None:
    server = StatusServer(build_app(CollectorRegistry(), {}), host="127.0.0.1", port=0)
    server.start()
    try:
        assert _get(server, "/health").status_code == 200
        for path in ("/metrics", "/", "/docs", "/openapi.json"):
            assert _get(server, path, {"Authorization": "Bearer x"}).status_code in (403, 404)
    finally:
        server.stop()


def test_the_page_is_rendered_with_patients_only_where_they_are_asked_for() -> None:
    with _server() as (server, _):
        assert _get(server, "/", BEARER).text == "<p>False</p>"
        named = _get(server, "/?patients=yes", BEARER)
    assert named.text == "<p>True</p>"
    assert named.headers["Cache-Control"] == "no-store"


def test_the_head_alone_tells_whether_the_node_is_well() -> None:
    with _server(disk=lambda: "full") as (server, _), httpx.Client(trust_env=False, timeout=10) as client:
        health, live = (client.head(f"http://127.0.0.1:{server.port}/health{path}") for path in ("", "/live"))
    assert (health.status_code, health.content) == (503, b"")
    assert (live.status_code, live.content) == (200, b"")
