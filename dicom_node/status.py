"""`/health` and `/metrics` over HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping

import uvicorn
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

_STOP_SECONDS = 5.0

Check = Callable[[], str | None]


def build_app(registry: CollectorRegistry, checks: Mapping[str, Check]) -> FastAPI:
    """Return the application.

    checks: name -> function that returns why the node is not ready, or None. `/health` answers 200
    when every check passes and 503 otherwise, with the reasons; `/health/live` answers 200 while the
    process serves at all.
    """
    app = FastAPI(title="facenorm", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    def health(response: Response) -> dict[str, object]:
        reasons = {name: reason for name, check in checks.items() if (reason := _asked(check)) is not None}
        response.status_code = 503 if reasons else 200
        return {"live": True, "ready": not reasons, "reasons": reasons}

    @app.get("/health/live")
    def live() -> dict[str, object]:
        return {"live": True}

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


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
            timeout_keep_alive=5,
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
