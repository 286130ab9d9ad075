"""The doorbell: tells the worker that a row is due. The row is the work; a lost or doubled ring changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog

from hosthold.settings import Settings
from hosthold.work.keys import Keyring, key_file
from hosthold.work.queue import WORKER, Queue, open_queue

log = structlog.get_logger()


class Doorbell:
    """Rings the worker of this platform. The queue is opened with the first ring."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._queue: Queue | None = None
        self._ring: Callable[..., Any] = _unheard

    def ring(self, kind: str, key: str) -> None:
        """Say that the row `key` of `kind` is due. A failure is only logged: the worker's sweep finds the row."""
        try:
            with self._lock:
                if self._queue is None:
                    self._queue = open_queue(self._settings, WORKER, Keyring.load(key_file(self._settings, WORKER)))
                    self._ring = ring_task(self._queue, _unheard)
            self._ring(kind=kind, key=key)
        except Exception as error:  # whatever the store raises, the work is committed and must not seem to have failed
            log.warning("doorbell not rung", kind=kind, key=key, cause=type(error).__name__)

    def close(self) -> None:
        """Close the queue."""
        with self._lock:
            if self._queue is not None:
                self._queue.storage.close()
                self._queue = None


def ring_task(queue: Queue, hear: Callable[..., None]) -> Callable[..., Any]:
    """Register the one task of the worker's queue, under the name that every version uses; calling it enqueues it."""
    task: Callable[..., Any] = queue.task(name="ring", __module__="hosthold")(hear)
    return task


def _unheard(kind: str, key: str) -> None:
    """Stands for the worker's own function in the processes that only ring."""
