"""Seeing afterwards whether programs run that a large order left asleep: one after the other, while nothing else waits.

To start each site's program within an order of many would take longer than all the rest of it. So the subjects are
noted, woken one by one when the order is done, asked, and sent to sleep again. What was found is told with the next
order that looks at the subject.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

from hosthold.drivers.supervisor import SupervisorDriver
from hosthold.errors import DriverError
from hosthold.node.failure import NodeFailure
from hosthold.node.probe import Prober
from hosthold.node.state import State, Unproven
from hosthold.types.node import Node
from hosthold.types.site import Condition

FEW = 300
"""As long as no more subjects wait, they are tried without a pause; otherwise they take a twentieth of the time."""
_SHARE = 0.05
EACH_MS = 100
"""About how long one subject takes, for a guess at when it is its turn."""
_SOONEST_MS = 3_000
_QUIET_SECONDS = 1.0
"""For how long no order may have changed anything before the next subject is tried."""
_LONGEST_WAIT = 5.0
"""After which one is tried all the same."""
_LOOK_SECONDS = 0.5
_HINT = "Mend what the message names, or look at the logs of the site. It is tried again by itself."
_log = logging.getLogger(__name__)


def turn_in_ms(ahead: int, waiting: int) -> int:
    """About when a subject will have been tried before which so many others are, of all that wait."""
    with_pauses = min(ahead, max(0, waiting - FEW))
    return max(_SOONEST_MS, round((ahead - with_pauses + with_pauses / _SHARE) * EACH_MS))


class Proofs:
    """A thread that tries what is noted in the node's state. `lock` guards the state; it tries without holding it."""

    def __init__(
        self, node: Node, state: State, supervisor: SupervisorDriver[Any], lock: AbstractContextManager[Any]
    ) -> None:
        self._node = node
        self._state = state
        self._supervisor = supervisor
        self._lock = lock
        self._changed = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hosthold-proof", daemon=True)

    def start(self) -> None:
        """Begin, with what an earlier node left untried."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the subject that is being tried. The lock must not be held."""
        self._stop.set()
        self._thread.join()

    @contextmanager
    def standing_back(self) -> Iterator[None]:
        """Let an order that changes something have the machine, and the next one that soon follows."""
        self._changed = time.monotonic()
        try:
            yield
        finally:
            self._changed = time.monotonic()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while not self._stop.is_set():
            try:
                was_there_one = self._try_one()
            except (OSError, sqlite3.Error, DriverError, ValueError):
                _log.exception("what is untried could not be looked at; it is tried again")
                was_there_one = False
            if not was_there_one:
                self._stop.wait(_LOOK_SECONDS)

    def _try_one(self) -> bool:
        with self._lock:
            row, waiting = self._state.next_unproven(), self._state.count_unproven()
        if row is None:
            return False
        self._await_quiet()
        begun = time.monotonic()
        condition = None if self._stop.is_set() else self._tried(row)
        took = time.monotonic() - begun
        with self._lock:
            if not self._stop.is_set():
                self._state.proven(row, condition)
        if waiting > FEW:
            self._stop.wait(took * (1 / _SHARE - 1))
        return True

    def _await_quiet(self) -> None:
        begun = time.monotonic()
        while not self._stop.is_set() and (now := time.monotonic()) - self._changed < _QUIET_SECONDS:
            if now - begun > _LONGEST_WAIT:
                return
            self._stop.wait(_QUIET_SECONDS / 10)

    def _tried(self, row: Unproven) -> Condition | None:
        try:
            with closing(Prober(self._node.listen)) as prober:
                for wanted in row.probes:
                    prober.probe(wanted, self._raise_words_of(row))
        except NodeFailure as failure:
            return failure.condition.model_copy(update={"hint": _HINT})
        finally:
            self._send_to_sleep(row)
        return None

    def _send_to_sleep(self, row: Unproven) -> None:
        for name in row.services:
            try:
                self._supervisor.rest(name)
            except DriverError as error:
                _log.warning("%s was not sent to sleep, and will be once it is idle: %s", name, error.detail)

    def _raise_words_of(self, row: Unproven) -> Callable[[], None]:
        def raise_words() -> None:
            if self._stop.is_set():
                raise NodeFailure("Unavailable", "The node is being stopped.", "")
            words = self._supervisor.failures()
            for name in row.services:
                if name in words:
                    raise service_failed(name, words[name], row.subject)

        return raise_words


def service_failed(name: str, words: str, subject: str) -> NodeFailure:
    """A service that does not run or could not be woken, in the program's own words."""
    return NodeFailure(
        "ServiceFailed",
        f"{name}: {words}",
        "The message is the program's own; mend what it names. It is tried again with the next visitor.",
        subject=subject,
    )
