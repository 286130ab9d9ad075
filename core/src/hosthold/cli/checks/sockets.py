"""Sockets and ports: that what should listen does, and that nothing else is in its place."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from hosthold.cli.checks.finding import Finding, bad, well
from hosthold.node.state import State
from hosthold.settings import Settings
from hosthold.types.node import Node
from hosthold.types.resource import Service

MOST_SHOWN = 5
_SECONDS = 3.0
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_NOBODY = "doctor.invalid"
"""A name that no site can have (RFC 6761): the web server closes the connection without an answer."""


def look(settings: Settings, node: Node) -> Iterator[Finding]:
    """Look at the sockets of sites, at the node's own, and at the port for visitors. No site is woken by it."""
    database = Path(node.layout.state) / "node.db"
    if os.access(database, os.W_OK):
        yield from _sites(node, database)
    if settings.node.supervisor == "process" and os.access(node.layout.run, os.R_OK):
        yield from _keeper(Path(node.layout.run) / "keeper.sock")
    yield _visitors(node)


def _sites(node: Node, database: Path) -> Iterator[Finding]:
    state = State(str(database))
    try:
        services = [one for one in state.with_key_prefix("service:") if isinstance(one, Service)]
    finally:
        state.close()
    declared = {str(service.socket.path): service.name for service in services if service.socket is not None}
    silent = [(path, name) for path, name in declared.items() if not is_bound(Path(path))]
    for path, name in islice(silent, MOST_SHOWN):
        yield bad(
            "sockets",
            f"Nothing listens at {path}, the socket of {name}: its visitors see an error.",
            "Start `hosthold node`, which binds it anew; if it does run, its log says why it could not",
        )
    folder = Path(node.layout.sockets)
    stale = [path for path in folder.iterdir() if str(path) not in declared] if folder.is_dir() else []
    if stale:
        yield bad(
            "sockets",
            f"{len(stale)} lie in {folder} and belong to no site.",
            f"rm {' '.join(map(str, stale[:MOST_SHOWN]))}",
        )
    if not silent and not stale:
        yield well("sockets", f"{len(declared)} of sites are bound")


def is_bound(path: Path) -> bool:
    """Whether somebody holds the socket at the path, asked so that its holder does not notice.

    A datagram socket cannot be connected to a stream socket: the kernel says so, unless nobody holds it (unix(7)).
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking, suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            asking.connect(f"/proc/self/fd/{folder}/{path.name}")
        except OSError as error:
            return error.errno == errno.EPROTOTYPE
        finally:
            os.close(folder)
        return True
    return False


def _keeper(path: Path) -> Iterator[Finding]:
    if path.exists() and not is_bound(path):
        yield bad(
            "sockets",
            f"Nobody keeps the sockets of sites at {path}: they would be lost when the node ends.",
            "Start `hosthold node`, which starts its keeper",
        )


def _visitors(node: Node) -> Finding:
    """Whether our web server answers visitors, and not another one that was there first."""
    listen = node.listen
    address = listen.address.strip("[]")
    place = f"{listen.address}:{listen.port}"
    try:
        with socket.create_connection((_EVERY_ADDRESS.get(address, address), listen.port), _SECONDS) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {_NOBODY}\r\nConnection: close\r\n\r\n".encode())
            with suppress(ConnectionError):
                if answer := connection.recv(64):
                    said = answer.split(b"\r\n")[0].decode("latin-1")
                    return bad(
                        "visitors",
                        f"Another server answers on {place} ({said!r} for a name that no site has).",
                        f"Find it with `ss -ltnp 'sport = :{listen.port}'` and stop it, or change node.listen",
                    )
    except ConnectionRefusedError:
        return bad("visitors", f"Nothing listens on {place}.", "hosthold up; if it runs, its log says what nginx says")
    except OSError as error:
        return bad("visitors", f"{place} does not answer: {error}.", "Look at the log of `hosthold node`")
    return well("visitors", f"the node's web server answers on {place}")
