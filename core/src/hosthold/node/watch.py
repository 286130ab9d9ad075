"""Watching: one thread that waits on descriptors, and on the times when something is due."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable

_PAUSE_AFTER_ERROR = 30.0
_log = logging.getLogger(__name__)

Act = Callable[[str, int], None]
"""What is called with a service's name, and the descriptor that was ready (or -1, when it is due)."""


class Watch:
    """Calls what was asked for, each time once: when a descriptor is ready, or when a time has come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._acts: dict[int, tuple[str, Act]] = {}
        self._times: dict[tuple[str, Act], float] = {}
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
            self._acts.clear()
            self._times.clear()

    def ready(self, name: str, descriptor: int, act: Act) -> None:
        """Call `act` once when the descriptor is ready: a process has ended, a connection waits."""
        with self._lock:
            is_known = descriptor in self._acts
            self._acts[descriptor] = name, act
            change = self._epoll.modify if is_known else self._epoll.register
            change(descriptor, select.EPOLLIN | select.EPOLLONESHOT)

    def forget(self, descriptor: int | None) -> None:
        """Say nothing more about this descriptor, if there is one; to be called before it is closed."""
        with self._lock:
            if descriptor is not None and self._acts.pop(descriptor, None) is not None:
                self._epoll.unregister(descriptor)

    def later(self, name: str, act: Act, seconds: float) -> None:
        """Call `act` after the time; a time that was set before for the same is replaced."""
        with self._lock:
            is_next = all(seconds + time.monotonic() < at for at in self._times.values()) if self._times else True
            self._times[name, act] = time.monotonic() + seconds
        if is_next:
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
                    known = self._acts.get(descriptor)
                if known is not None:
                    self._call(*known, descriptor)
            now = time.monotonic()
            with self._lock:
                due = [key for key, at in self._times.items() if at <= now]
                for key in due:
                    del self._times[key]
            for name, act in due:
                self._call(name, act, -1)

    def _call(self, name: str, act: Act, descriptor: int) -> None:
        """One service's misfortune, such as a full disk, never ends the watching of all others."""
        try:
            act(name, descriptor)
        except Exception:
            _log.exception("%s could not be looked after; it is tried again", name)
            self.later(name, act, _PAUSE_AFTER_ERROR)
