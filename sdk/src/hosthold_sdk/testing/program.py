"""A program that answers on its socket as a site's does, and ways to ask it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hosthold_sdk import Service

PYTHON = "/usr/bin/python3"  # one that other users may run, as a site's program
SERVER = r"""
import os, select, signal, socket, sys, time
told, tell = os.pipe()
os.set_blocking(tell, False)
signal.set_wakeup_fd(tell)
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listener = socket.socket(fileno=3)
assert listener.getblocking() and os.get_blocking(3)
while told not in select.select([listener, told], [], [])[0]:
    connection, _ = listener.accept()
    if os.fork() == 0:
        request = connection.recv(100).decode()
        if request.startswith("work"):
            time.sleep(float(request.split()[1]))
        groups = ",".join(map(str, os.getgroups())) or "-"
        variables = ",".join(sorted(os.environ))
        no_new = open("/proc/self/status").read().split("NoNewPrivs:")[1].split()[0]
        owner, stdin = f"{os.getuid()}:{os.getgid()}", os.readlink("/proc/self/fd/0")
        facts = (os.getppid(), owner, groups, variables, stdin, no_new)
        connection.sendall("\n".join((sys.argv[1], *map(str, facts))).encode())
        os._exit(0)
    connection.close()
try:
    os.wait()  # until the last child has answered: SIGCHLD is ignored
except ChildProcessError:
    pass
"""
"""Answers each connection with a child, and ends once all of them have answered, as php-fpm does."""


def ask(service: Service, request: str = "hello") -> list[str]:
    """What the service answers: its version, pid, owner, groups, variables, standard input, no-new-privileges."""
    assert service.socket is not None
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(service.socket.path)
        client.sendall(request.encode())
        return client.makefile().read().split("\n")


def pid_of(service: Service) -> int:
    """The process that answers."""
    return int(ask(service)[1])


@contextmanager
def asking(service: Service) -> Iterator[list[str]]:
    """Ask all the time; the versions that answered. An error fails the test."""
    answers: list[str] = []
    errors: list[OSError] = []
    is_over = threading.Event()

    def run() -> None:
        while not is_over.is_set():
            try:
                answers.append(ask(service)[0])
            except OSError as error:
                errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield answers
    finally:
        is_over.set()
        thread.join()
    assert errors == []


def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Look again and again until it is so; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
