"""HTTP requests to servers on loopback, without TLS.

Certificates would be read anew for every request, 30 ms of a core: in a test that asks twenty times a second
whether a node is ready, as much as the node itself needs.
"""

from __future__ import annotations

import httpx


def get(
    url: str,
    *,
    timeout: float = 5,
    headers: dict[str, str] | None = None,
    params: dict[str, str] | None = None,
    auth: tuple[str, str] | None = None,
) -> httpx.Response:
    return httpx.get(
        url, timeout=timeout, headers=headers, params=params, auth=auth, trust_env=False, verify=False
    )


def is_healthy(port: int) -> bool:
    """Whether what listens on this port of loopback says that it is ready."""
    try:
        return get(f"http://127.0.0.1:{port}/health").status_code == 200
    except httpx.HTTPError:
        return False
