"""`/health`, `/metrics` and the status page over HTTP."""

from __future__ import annotations

import asyncio
import base64
import hmac
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from uvicorn.protocols.http.h11_impl import H11Protocol

_STOP_SECONDS = 5.0
# Of a connection, which is for one request. Whoever asks waits for less.
_CONNECTION_SECONDS = 60.0
_MOST_CONNECTIONS = 100
_HEAD_TOO = ["GET", "HEAD"]

Check = Callable[[], str | None]


def build_app(
    registry: CollectorRegistry,
    checks: Mapping[str, Check],
    *,
    token: Callable[[], str] = lambda: "",
    page: Callable[[bool], str] | None = None,
) -> FastAPI:
    """Return the application.

    checks: name -> function that returns why the node is not ready, or None. `/health` answers 200
    when every check passes and 503 otherwise, with the reasons; `/health/live` answers 200 while the
    process serves at all. Everything else wants the token, which is asked for at every request: as
    `Authorization: Bearer` or as the password of HTTP Basic, for a browser. Without a token there is
    nothing else. page: renders the page, with patients or without.
    """
    app = FastAPI(title="facenorm", docs_url=None, redoc_url=None, openapi_url=None)

    def admit(authorization: Annotated[str, Header()] = "") -> None:
        wanted = token()
        if not wanted:
            raise HTTPException(403, "set status.token to see more than /health")
        if not hmac.compare_digest(_given(authorization).encode(), wanted.encode()):
            raise HTTPException(401, "the token is wrong", {"WWW-Authenticate": 'Basic realm="facenorm"'})

    # Load balancers and monitors like to ask for the head alone.
    @app.api_route("/health", methods=_HEAD_TOO)
    def health(response: Response) -> dict[str, object]:
        reasons = reasons_of(checks)
        response.status_code = 503 if reasons else 200
        return {"live": True, "ready": not reasons, "reasons": reasons}

    @app.api_route("/health/live", methods=_HEAD_TOO)
    async def live() -> dict[str, object]:  # in none of the threads, all of which may wait for a check
        return {"live": True}

    @app.get("/metrics", dependencies=[Depends(admit)])
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", dependencies=[Depends(admit)])
    def overview(patients: str = "no") -> Response:
        if page is None:
            raise HTTPException(503, "the node is still starting")
        headers = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
        }
        return Response(page(patients == "yes"), media_type="text/html; charset=utf-8", headers=headers)

    return app


def reasons_of(checks: Mapping[str, Check]) -> dict[str, str]:
    """Return name -> why not, of every check that does not pass."""
    return {name: reason for name, check in checks.items() if (reason := _asked(check)) is not None}


def _given(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


class _BoundedConnection(H11Protocol):
    """One request, answered within a time: who says nothing may not take the node's file descriptors."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > _MOST_CONNECTIONS:
            transport.abort()
            return
        self._limit = self.loop.call_later(_CONNECTION_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if limit := getattr(self, "_limit", None):
            limit.cancel()
        super().connection_lost(exc)


class StatusServer:
    """Serves the application from a thread."""

    def __init__(self, app: FastAPI, *, host: str, port: int) -> None:
        """Bind at once; port 0 lets the system choose one.

        Raises:
            OSError: the address cannot be bound.

        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            http=_BoundedConnection,
            backlog=_MOST_CONNECTIONS,  # which are accepted in one go
            headers=[("Connection", "close")],
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="status", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more and free the port."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _asked(check: Check) -> str | None:
    try:
        return check()
    except Exception as error:  # a check that fails is a reason, too
        return type(error).__name__
