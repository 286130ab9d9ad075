"""Watching processes: one thread that waits on process descriptors and on the times when services are due again."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable

_PAUSE_AFTER_ERROR = 30.0
_log = logging.getLogger(__name__)


class Watch:
    """Calls `ended` with name and descriptor when a process ends, and `due` with a name when its time has come."""

    def __init__(self, ended: Callable[[str, int], None], due: Callable[[str], None]) -> None:
        self._ended = ended
        self._due = due
        self._lock = threading.Lock()
        self._names: dict[int, str] = {}
        self._times: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self._epoll: select.epoll
        self._wake: int

    def start(self) -> None:
        """Begin; a watch that runs already goes on."""
        if self._thread is None:
            self._epoll = select.epoll()
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._epoll.register(self._wake, select.EPOLLIN)
            self._thread = threading.Thread(target=self._run, name="hosthold-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread and forget everything. Not to be called by the thread itself."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            os.eventfd_write(self._wake, 1)
            thread.join()
            self._epoll.close()
            os.close(self._wake)
            self._names.clear()
            self._times.clear()

    def add(self, name: str, pidfd: int) -> None:
        """Tell when this process ends, once."""
        with self._lock:
            self._names[pidfd] = name
            self._epoll.register(pidfd, select.EPOLLIN | select.EPOLLONESHOT)

    def remove(self, pidfd: int) -> None:
        """Say nothing more about this process; to be called before its descriptor is closed."""
        with self._lock:
            if self._names.pop(pidfd, None) is not None:
                self._epoll.unregister(pidfd)

    def later(self, name: str, seconds: float) -> None:
        """Call `due` for this name after the time."""
        with self._lock:
            self._times[name] = time.monotonic() + seconds
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while self._thread is not None:
            with self._lock:
                next_time = min(self._times.values(), default=None)
            pause = None if next_time is None else max(0.0, next_time - time.monotonic())
            for descriptor, _ in self._epoll.poll(pause):
                if descriptor == self._wake:
                    os.eventfd_read(self._wake)
                    continue
                with self._lock:
                    name = self._names.get(descriptor)
                if name is not None:
                    self._call(self._ended, name, descriptor)
            now = time.monotonic()
            with self._lock:
                names = [name for name, at in self._times.items() if at <= now]
                for name in names:
                    del self._times[name]
            for name in names:
                self._call(self._due, name)

    def _call(self, act: Callable[..., None], name: str, *arguments: int) -> None:
        """One service's misfortune, such as a full disk, never ends the watching of all others."""
        try:
            act(name, *arguments)
        except Exception:
            _log.exception("%s could not be looked after; it is tried again", name)
            self.later(name, _PAUSE_AFTER_ERROR)
