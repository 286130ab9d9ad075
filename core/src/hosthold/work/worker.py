"""The worker's engine: threads that hear the doorbell, and sweeps that find whatever nobody rang for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from huey.consumer import Consumer

from hosthold.db.unit_of_work import Database
from hosthold.plugins.manager import PluginRegistry
from hosthold.settings import Settings
from hosthold.work.deliver import Deliverer
from hosthold.work.doorbell import ring_task
from hosthold.work.keys import Keyring, key_file
from hosthold.work.operations import Operations
from hosthold.work.queue import WORKER, open_queue
from hosthold.work.schedule import Schedule

THREADS = 4
"""Threads that hear rings: a slow piece of work holds up one of them."""
SWEEP_SECONDS = 1.0

log = structlog.get_logger()


class Reconciler(Protocol):
    """The reconcile loop, as the worker uses it."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The nouns that are reconciled."""

    def run(self, kind: str) -> int:
        """Work off what is due of a kind."""

    def stop(self) -> None:
        """Begin nothing more, and wait little longer for what was begun."""


class _Consumer(Consumer):  # type: ignore[misc]  # huey ships no types
    """Huey's consumer without its signal handlers: the process that it runs in has its own."""

    def _set_signal_handlers(self) -> None:
        """Leave the signals alone."""


class Worker:
    """Runs everything that works in the background until it is told to stop. Several workers may run side by side."""

    def __init__(
        self,
        database: Database,
        registry: PluginRegistry,
        loop: Reconciler,
        operations: Operations,
        schedule: Schedule,
        settings: Settings,
    ) -> None:
        self._deliverer = Deliverer(database, registry)
        self._sources: dict[str, Callable[[], Any]] = {
            "event": self._deliverer.run,
            "operation": operations.run,
            "schedule": schedule.run,
            **{kind: _bound(loop, kind) for kind in loop.kinds},
        }
        self._settings = settings
        self._loop = loop

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then finish what was begun, if nodes answer soon.

        Failures of single pieces of work are logged.
        """
        self._deliverer.readmit()
        queue = open_queue(self._settings, WORKER, Keyring.load(key_file(self._settings, WORKER)))
        ring_task(queue, self._hear)
        consumer = _Consumer(queue, workers=THREADS, periodic=False, scheduler_interval=60)
        consumer.start()
        sweeps = [threading.Thread(target=self._sweep, args=(kind, stop)) for kind in self._sources]
        for sweep in sweeps:
            sweep.start()
        log.info("worker started", kinds=sorted(self._sources))
        while not stop.wait(SWEEP_SECONDS):
            consumer.check_worker_health()
        self._loop.stop()
        consumer.stop(graceful=True)
        for sweep in sweeps:
            sweep.join()
        queue.storage.close()
        log.info("worker stopped")

    def _hear(self, kind: str, key: str, **_newer: Any) -> None:
        """Do what is due of the kind that was rung for. What a newer version rings for is left in the database."""
        if kind in self._sources:
            self._work(kind)
        else:
            log.warning("ring not understood", kind=kind, key=key)

    def _sweep(self, kind: str, stop: threading.Event) -> None:
        while not stop.is_set():
            self._work(kind)
            stop.wait(SWEEP_SECONDS)

    def _work(self, kind: str) -> None:
        try:
            self._sources[kind]()
        except Exception as error:
            log.exception("work failed", kind=kind, cause=type(error).__name__)


def _bound(loop: Reconciler, kind: str) -> Callable[[], int]:
    return lambda: loop.run(kind)
