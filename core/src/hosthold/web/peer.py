"""Whose program is at the other end of a connection within this machine: asked of the kernel, not of the request."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST = 1
_HEADER = struct.Struct("=IHHII")
_QUERY = struct.Struct("=BBBBI")
_COOKIE = struct.pack("=II", 0xFFFFFFFF, 0xFFFFFFFF)
_ANY_STATE = 0xFFFFFFFF
_UID_AT = _HEADER.size + 4 + 48 + 12


def uid_at(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """The user whose program holds the client's end of a TCP connection of this machine (sock_diag(7)).

    `None` if the kernel knows no such socket here, or none that a program still holds.
    """
    source, target = _address(client[0]), _address(server[0])
    if source is None or target is None:
        return None
    family = socket.AF_INET if len(source) == 4 else socket.AF_INET6
    identity = struct.pack(">HH", client[1], server[1]) + source.ljust(16, b"\0") + target.ljust(16, b"\0")
    query = _QUERY.pack(family, socket.IPPROTO_TCP, 0, 0, _ANY_STATE) + identity + struct.pack("=I", 0) + _COOKIE
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as asked:
            asked.settimeout(1)
            asked.send(_HEADER.pack(_HEADER.size + len(query), _SOCK_DIAG_BY_FAMILY, _REQUEST, 0, 0) + query)
            answer = asked.recv(4096)
    except OSError:
        return None
    if len(answer) < _UID_AT + 8 or _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    uid, inode = struct.unpack_from("=II", answer, _UID_AT)
    return int(uid) if inode else None


def _address(text: str) -> bytes | None:
    try:
        return ip_address(text).packed
    except ValueError:
        return None
