"""The listening sockets of a node's services: bound once, held by the node and by its keeper."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from hosthold.node import keeper, process
from hosthold.node.watch import Watch
from hosthold.types.node import Node, NodeLayout
from hosthold.types.resource import Service, UnixSocket

_PATIENCE_SECONDS = 10.0
_log = logging.getLogger(__name__)


class Listeners:
    """All sockets of one node, by the name of the service that they belong to."""

    def __init__(self, layout: NodeLayout, watch: Watch, lock: AbstractContextManager[Any]) -> None:
        self._watch = watch
        self._lock = lock
        self._address = f"{layout.run}/keeper.sock"
        self._held: dict[str, tuple[str, socket.socket]] = {}
        self._found: dict[str, socket.socket] = {}
        self._connection: socket.socket | None = None
        self.keeper = 0
        """The keeper's process."""
        self._keeper = -1

    def open(self) -> None:
        """Find the keeper, or start one, and take from it what an earlier node left."""
        self._connect()

    def _keeper_ended(self, _name: str, _descriptor: int) -> None:
        """Start another keeper in the place of one that ended, and give it everything."""
        with self._lock:
            if self._connection is None:
                return
            _log.warning("the keeper of sockets ended; another one is started")
            self._forget_keeper()
            self._connect()
            self._give_everything()

    def _forget_keeper(self) -> None:
        self._watch.forget(self._keeper)
        os.close(self._keeper)
        process.reap(self.keeper)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _give_everything(self) -> None:
        keys = [_key(name, key) for name, (key, _) in self._held.items()]
        sockets = [listener.fileno() for _, listener in self._held.values()]
        for start in range(0, len(keys), keeper.AT_ONCE):
            end = start + keeper.AT_ONCE
            self._tell("put", keys[start:end], sockets[start:end])

    def has(self, name: str, address: UnixSocket) -> bool:
        """Whether the service's socket is bound as declared."""
        held = self._held.get(name)
        return held is not None and held[0] == _address(address)

    def get(self, name: str, address: UnixSocket) -> socket.socket:
        """The service's socket; bound now, if neither the node nor the keeper has it. Raises `OSError`."""
        if self.has(name, address):
            return self._held[name][1]
        self.drop(name)
        key = _address(address)
        listener = self._found.pop(_key(name, key), None)
        if listener is None or not Path(address.path).is_socket():
            if listener is not None:
                listener.close()
            listener = process.bind_listener(address.path, address.owner, address.mode)
            self._tell("put", [_key(name, key)], [listener.fileno()])
        self._held[name] = key, listener
        return listener

    def bind(self, service: Service) -> str:
        """Bind a socket while the node starts: what hinders it, if anything does, concerns its own service alone."""
        assert service.socket is not None
        try:
            self.get(service.name, service.socket)
        except OSError as error:
            _log.warning("the socket of %s cannot be bound: %s", service.name, error)
            return str(error)
        return ""

    def recover(self, name: str, address: UnixSocket, pidfd: int) -> bool:
        """Whether the socket of a service that still runs is ours again, from the keeper or from the service itself."""
        if not Path(address.path).is_socket():
            return False
        if _key(name, _address(address)) in self._found:
            self.get(name, address)
            return True
        listener = process.taken_listener(pidfd)
        if listener is None:
            return False
        self._held[name] = _address(address), listener
        self._tell("put", [_key(name, _address(address))], [listener.fileno()])
        return True

    def drop(self, name: str) -> None:
        """Unbind the service's socket, if it has one. Raises `OSError` if that fails; then it is held still."""
        held = self._held.get(name)
        if held is not None:
            key, listener = held
            Path(key.partition(" ")[0]).unlink(missing_ok=True)
            del self._held[name]
            listener.close()
            self._tell("drop", [_key(name, key)])

    def descriptor(self, name: str) -> int | None:
        """The number of the service's socket in this process."""
        held = self._held.get(name)
        return None if held is None else held[1].fileno()

    def forget_unclaimed(self) -> None:
        """Let go of what an earlier node left and no service asked for."""
        keys = list(self._found)
        while self._found:
            self._found.popitem()[1].close()
        if keys:
            self._tell("drop", keys)

    def close(self) -> None:
        """Let go of everything; the keeper keeps it."""
        for sockets in (self._found, {key: listener for key, (_, listener) in self._held.items()}):
            for listener in sockets.values():
                listener.close()
        self._found.clear()
        self._held.clear()
        self._forget_keeper()

    def end(self) -> None:
        """Unbind everything, and end the keeper."""
        for name in list(self._held):
            self.drop(name)
        self.forget_unclaimed()
        self._tell("end", [])
        process.has_ended(self._keeper, _PATIENCE_SECONDS)
        Path(self._address).unlink(missing_ok=True)
        self.close()

    def _tell(self, word: str, keys: list[str], descriptors: list[int] | None = None) -> None:
        """A keeper that is not there is told everything when its end is noticed."""
        assert self._connection is not None
        with suppress(BrokenPipeError, ConnectionResetError):
            keeper.send(self._connection, word, keys, descriptors)

    def _connect(self) -> None:
        connection = _connection_to(self._address)
        if connection is None:
            process.start_keeper(self._address)
            connection = _connection_to(self._address)
        if connection is None or keeper.peer(connection) != os.geteuid():
            raise ConnectionRefusedError(f"{self._address} is not the socket of this node's keeper")
        self._connection = connection
        keeper.send(connection, "list", [])
        while (message := keeper.receive(connection))[0] == "held":
            _, keys, descriptors = message
            self._found |= {
                key: socket.socket(fileno=descriptor) for key, descriptor in zip(keys, descriptors, strict=True)
            }
        if message[0] != "end":
            raise ConnectionResetError("the keeper of sockets ended while it told what it has")
        self.keeper = int(message[1][0])
        self._keeper = os.pidfd_open(self.keeper)
        self._watch.ready("keeper", self._keeper, self._keeper_ended)


def remove_undeclared_sockets(node: Node, services: tuple[Service, ...]) -> None:
    """Remove what lies among the sockets of a node and belongs to none of its services."""
    sockets = Path(node.layout.sockets)
    declared = {service.socket.path for service in services if service.socket is not None}
    for entry in sockets.iterdir() if sockets.is_dir() else ():
        if entry.is_socket() and str(entry) not in declared:
            entry.unlink()


def _connection_to(path: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(_PATIENCE_SECONDS)
    folder = os.open(path.rpartition("/")[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{folder}/{path.rpartition('/')[2]}")
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    finally:
        os.close(folder)
    return connection


def _address(address: UnixSocket) -> str:
    """What must be equal for a bound socket to be used again; paths have no spaces."""
    return f"{address.path} {address.owner.uid}:{address.owner.gid} {address.mode:o}"


def _key(name: str, address: str) -> str:
    return f"{name} {address}"
