"""What needs somebody who looks again and again: programs that have had nothing to do, and sockets that gave up.

While nobody looks, awake services stay awake; visitors wake the others all the same.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from hosthold_sdk.process import children_of, has_ended

from .manager import Manager, UnitState
from .units import SERVICES, SOCKETS, name_in

_LONGEST_LOOK = 5.0
_LONGEST_PAUSE = 30.0
_log = logging.getLogger(__name__)


@dataclass
class _Program:
    """The first process of a unit, known by a descriptor that cannot come to mean another process."""

    pid: int
    pidfd: int
    idle_since: float | None = None

    def idle_seconds(self) -> float:
        """For how long it has had no child process, as far as was seen whenever this was asked."""
        now = time.monotonic()
        if children_of(self.pid):
            self.idle_since = None
            return 0.0
        if self.idle_since is None:
            self.idle_since = now
        return now - self.idle_since


class Watch:
    """A thread that ends what is idle and lets failed sockets listen again."""

    def __init__(self, idle: Callable[[], Mapping[str, int]]) -> None:
        """`idle` tells after how many seconds each service that may sleep does."""
        self._idle = idle
        self._is_over = True
        self._told = threading.Event()
        self._thread: threading.Thread | None = None
        self._programs: dict[str, _Program] = {}
        self._leaving: set[str] = set()
        self._pauses: dict[str, tuple[float, float]] = {}

    def start(self) -> None:
        """Begin to look, for the first time or again."""
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="hosthold-systemd", daemon=True)
        self._thread.start()

    def tell(self) -> None:
        """Other services are to be looked after."""
        self._told.set()

    def stop(self) -> None:
        """Look no more."""
        self._is_over = True
        self._told.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        while self._programs:
            os.close(self._programs.popitem()[1].pidfd)
        self._leaving.clear()
        self._pauses.clear()

    def _run(self) -> None:
        manager = Manager()
        due = time.monotonic()
        while not self._is_over:
            due = min(due, time.monotonic() + self._pause())
            if self._told.wait(max(0.0, due - time.monotonic())):
                self._told.clear()
                continue
            due = float("inf")
            try:
                self._end_idle(manager, self._idle())
                self._listen_again(manager, self._idle())
            except Exception:
                _log.exception("could not look after services")
                manager.close()
        manager.close()

    def _pause(self) -> float:
        return max(0.2, min(_LONGEST_LOOK, min(self._idle().values(), default=_LONGEST_LOOK) / 5))

    def _end_idle(self, manager: Manager, idle: Mapping[str, int]) -> None:
        running = manager.find(("running",), SERVICES)
        for gone in [name for name in self._programs if name not in running]:
            os.close(self._programs.pop(gone).pidfd)
        for unit in running.values():
            name = name_in(unit.name)
            self._pauses.pop(name, None)
            program = self._program(manager, unit) if name in idle else None
            if program is not None and program.idle_seconds() >= idle[name]:
                self._leaving.add(unit.name)
                manager.begin_stop(unit.name)

    def _program(self, manager: Manager, unit: UnitState) -> _Program | None:
        known = self._programs.get(unit.name)
        if known is not None and not has_ended(known.pidfd):
            return known
        if known is not None:
            os.close(self._programs.pop(unit.name).pidfd)
        pid = manager.property(unit.path, "Service", "MainPID")
        with suppress(ProcessLookupError):
            if pid:
                self._programs[unit.name] = _Program(pid, os.pidfd_open(pid))
        return self._programs.get(unit.name)

    def _listen_again(self, manager: Manager, idle: Mapping[str, int]) -> None:
        """A socket gives up when its program fails again and again; it is bound anew after pauses that grow."""
        now = time.monotonic()
        failed = manager.find(("failed",), (*SERVICES, *SOCKETS))
        for unit in failed:
            if unit in self._leaving:  # it was told to end, however it did so
                manager.forget_failure(unit)
        self._leaving.intersection_update(self._programs)
        for unit in failed:
            name = name_in(unit)
            if unit.endswith(".socket") and name in idle:
                pause, due = self._pauses.setdefault(name, (1.0, now + 1.0))
                if now >= due:
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    self._pauses[name] = pause, now + pause
                    manager.forget_failure(unit)
                    manager.begin_start(unit)
