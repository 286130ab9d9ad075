"""Tests without a network: what is not this machine is refused before a packet leaves."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_state = {"is_hooked": False, "is_closed": False}


@contextmanager
def loopback_only() -> Iterator[None]:
    """Refuse with `PermissionError`, in all threads, to look up or reach anything but the loopback address."""
    if not _state["is_hooked"]:
        sys.addaudithook(_heard)
        _state["is_hooked"] = True
    before = _state["is_closed"]
    _state["is_closed"] = True
    try:
        yield
    finally:
        _state["is_closed"] = before


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if not _state["is_closed"]:
        return
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        connection, address = arguments[0], arguments[1]
        if connection.family in (socket.AF_INET, socket.AF_INET6) and address is not None:
            _require_loopback(str(address[0]))
    elif event in _LOOKUPS and arguments[0] is not None:
        host = arguments[0]
        _require_loopback(host.decode() if isinstance(host, bytes) else str(host))


def _require_loopback(host: str) -> None:
    if host in ("", "localhost"):
        return
    try:
        is_here = ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        is_here = False
    if not is_here:
        raise PermissionError(f"{host} is not this machine: mark the test with @pytest.mark.network to reach others")
