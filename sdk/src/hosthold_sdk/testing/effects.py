"""What code does to the world outside of it, as the interpreter's audit events tell (PEP 578)."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from types import FrameType
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ("os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.setxattr",
            "os.symlink", "os.truncate", "os.utime")  # fmt: skip
_READS = ("os.listdir", "os.scandir")
_PROCESSES = ("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen")
_NETWORK = ("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.sendto")


class EffectKind(StrEnum):
    """What is touched."""

    read = "read"
    change = "change"
    """Something below the file system's root is written, made, renamed or removed."""
    process = "process"
    network = "network"


@dataclass(frozen=True, slots=True)
class Effect:
    """One act. `has_timeout` is about processes and connections: whether whoever waits for it stops waiting."""

    kind: EffectKind
    description: str
    has_timeout: bool


class Failure:
    """The effect that shall fail: the `number`-th change, program or connection from now, counted from 1."""

    def __init__(self, number: int) -> None:
        self._left = number

    @property
    def has_happened(self) -> bool:
        return self._left == 0

    def count(self, effect: Effect) -> None:
        """Raises `OSError` if it is this one's turn."""
        if self._left and effect.kind is not EffectKind.read:
            self._left -= 1
            if not self._left:
                raise OSError(errno.EIO, f"a test lets this fail: {effect.description}")


class _Watching(threading.local):
    """What listens to the effects of this thread."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[Effect], None]] = []


_watching = _Watching()
_is_hooked = False


@contextmanager
def effects() -> Iterator[list[Effect]]:
    """Collect what this thread does in the block; modules that it imports there do not count."""
    found: list[Effect] = []
    with _listening(found.append):
        yield found


@contextmanager
def failing(number: int) -> Iterator[Failure]:
    """Let one effect of this thread in the block fail with `EIO`, and tell whether it came to that."""
    failure = Failure(number)
    with _listening(failure.count):
        yield failure


@contextmanager
def _listening(listener: Callable[[Effect], None]) -> Iterator[None]:
    global _is_hooked
    if not _is_hooked:
        sys.addaudithook(_heard)  # stays for the life of the process, and costs little while nobody listens
        _is_hooked = True
    _watching.listeners.append(listener)
    try:
        yield
    finally:
        _watching.listeners.remove(listener)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching.listeners:
        return
    listeners, _watching.listeners = _watching.listeners, []  # what is done to look is not an effect
    try:
        frame = sys._getframe(1)
        effect = _effect(event, arguments, frame)
        if effect is not None and not _is_import(frame):
            for listener in listeners:
                listener(effect)
    finally:
        _watching.listeners = listeners


def _effect(event: str, arguments: tuple[Any, ...], frame: FrameType) -> Effect | None:
    description = f"{event}{arguments!r}"
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, int):  # a descriptor that is open already
            return None
        kind = EffectKind.change if flags & _WRITING and path != os.devnull else EffectKind.read
        return Effect(kind, f"open({os.fsdecode(path)!r})", has_timeout=True)
    if event in _CHANGES:
        return Effect(EffectKind.change, description, has_timeout=True)
    if event in _READS:
        return Effect(EffectKind.read, description, has_timeout=True)
    if event in _PROCESSES:
        return Effect(EffectKind.process, description, has_timeout=_waits_with_timeout(frame))
    if event in _NETWORK:
        is_limited = isinstance(arguments[0], socket.socket) and arguments[0].gettimeout() is not None
        return Effect(EffectKind.network, description, has_timeout=is_limited)
    return None


def _waits_with_timeout(frame: FrameType | None) -> bool:
    """Whether a program is started by a function of `subprocess` that waits for it, and was told for how long."""
    while frame is not None:
        if frame.f_globals.get("__name__") == "subprocess" and frame.f_code.co_name in ("run", "call", "check_output"):
            given = frame.f_locals.get("kwargs", {})
            return frame.f_locals.get("timeout", given.get("timeout")) is not None
        frame = frame.f_back
    return False


def _is_import(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("importlib._bootstrap"):
            return True
        frame = frame.f_back
    return False
