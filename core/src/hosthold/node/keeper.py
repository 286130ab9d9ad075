"""The keeper: a small program that holds a second descriptor of every listening socket of a node.

Sockets live as long as somebody holds them. The node holds them and wakes services; the keeper outlives it, so that a
node that is restarted or killed finds all sockets again, with the connections that wait in them. It is run by itself,
without the rest of the package, and knows nothing of services: it maps keys to descriptors.

Each message on its Unix socket (SOCK_SEQPACKET) is a word and lines: `put` with a key for each descriptor that is
passed along; `drop` with keys; `list`, which it answers with messages `held` of keys and descriptors, and then `end`
with its process number; and `end`. It listens on its descriptor 0, whose path is its argument.
"""

from __future__ import annotations

import array
import os
import resource
import select
import socket
import struct
import sys

AT_ONCE = 200
"""Descriptors in one message; the kernel takes at most 253 (SCM_MAX_FD)."""
LONGEST = 1 << 17
_LOOK_SECONDS = 30.0


def receive(connection: socket.socket) -> tuple[str, list[str], list[int]]:
    """One message: its word, its lines, its descriptors. An empty word is the end of the connection."""
    data, ancillary, _, _ = connection.recvmsg(LONGEST, socket.CMSG_SPACE(AT_ONCE * 4), socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    word, *lines = data.decode("utf-8", "replace").split("\n")
    return word, lines, list(descriptors)


def send(connection: socket.socket, word: str, lines: list[str], descriptors: list[int] | None = None) -> None:
    """Send one message; `OSError` if nobody is there."""
    data = "\n".join([word, *lines]).encode()
    if descriptors:
        socket.send_fds(connection, [data], descriptors)
    else:
        connection.send(data)


def peer(connection: socket.socket) -> int:
    """The user at the other end, as the kernel knows it (SO_PEERCRED, unix(7))."""
    content = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", content)[1])


class Keeper:
    """Keys and descriptors."""

    def __init__(self, listener: socket.socket, path: str) -> None:
        self._listener = listener
        self._path = path
        self._held: dict[str, int] = {}
        self._connections: dict[int, socket.socket] = {}

    def run(self) -> None:
        """Serve until told to end, or nobody is connected and nobody can connect any more."""
        waiting = select.epoll()
        waiting.register(self._listener.fileno(), select.EPOLLIN)
        while True:
            if not self._connections and not os.path.exists(self._path):  # noqa: PTH110  # pathlib costs 2 MiB
                return
            for descriptor, _ in waiting.poll(_LOOK_SECONDS):
                if descriptor == self._listener.fileno():
                    connection, _ = self._listener.accept()
                    if peer(connection) == os.geteuid():
                        self._connections[connection.fileno()] = connection
                        waiting.register(connection.fileno(), select.EPOLLIN)
                    else:
                        connection.close()
                    continue
                try:
                    word = self._serve(self._connections[descriptor])
                except OSError:
                    word = ""
                if word == "end":
                    return
                if not word:
                    waiting.unregister(descriptor)
                    self._connections.pop(descriptor).close()

    def _serve(self, connection: socket.socket) -> str:
        word, lines, descriptors = receive(connection)
        if word == "put":
            for key, descriptor in zip(lines, descriptors, strict=True):
                self._drop(key)
                self._held[key] = descriptor
        elif word == "drop":
            for key in lines:
                self._drop(key)
        elif word == "list":
            keys = list(self._held)
            for start in range(0, len(keys), AT_ONCE):
                some = keys[start : start + AT_ONCE]
                send(connection, "held", some, [self._held[key] for key in some])
            send(connection, "end", [str(os.getpid())])
        return word

    def _drop(self, key: str) -> None:
        if key in self._held:
            os.close(self._held.pop(key))


def allow_descriptors() -> None:
    """Let this process have as many open descriptors as it may allow itself: one for each service, and more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Keep sockets for whoever connects to descriptor 0 with this process's own user."""
    allow_descriptors()
    Keeper(socket.socket(fileno=0), sys.argv[1]).run()


if __name__ == "__main__":
    main()
