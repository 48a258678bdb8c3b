"""Who may open an association."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import TypeVar

from dicom_node.settings_sections import Destination, Sender

_Entry = TypeVar("_Entry", Sender, Destination)


def admitted_as(entries: Iterable[_Entry], calling_ae_title: str, address: str) -> _Entry | None:
    """Return the entry that admits a peer that calls itself `calling_ae_title` from the IP `address`.

    Its title must be listed, and where the entry names a host the address must be one of that
    host's. None: nobody of that name is listed, or not there.
    """
    title = calling_ae_title.strip()
    return next(
        (
            entry
            for entry in entries
            if entry.ae_title == title and (not entry.host or _same_host(entry.host, address))
        ),
        None,
    )


def _same_host(host: str, address: str) -> bool:
    peer = _plain(address)
    try:
        return _plain(host) == peer
    except ValueError:
        pass
    try:
        # Asked anew each time: a camera's address may change while the node runs.
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(_plain(str(entry[4][0])) == peer for entry in found)


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return getattr(parsed, "ipv4_mapped", None) or parsed
