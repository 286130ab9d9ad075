"""The throttle on failed sign-ins: each failure in a row makes the next attempt wait longer."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from hosthold.errors import TooManyRequests

FREE_FAILURES = 5
_MAX_KEYS = 20_000
_FORGET_SECONDS = 3600.0


@dataclass
class _Failures:
    count: int
    last: float


class SignInThrottle:
    """Counts failures per user name and per network, in this process.

    After five failures in a row the wait doubles from one second: up to 30 seconds for a user name, so that nobody
    can lock a stranger out for long, and up to 15 minutes for an address (a /64 for IPv6).
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def check(self, email: str, address: str) -> None:
        """Raise `TooManyRequests` if the user name or the address has to wait."""
        now = self._monotonic()
        with self._lock:
            wait = max(self._wait(key, longest, now) for key, longest in _keys(email, address))
        if wait > 0:
            raise TooManyRequests(
                "There were too many failed sign-ins.",
                hint=f"Try again in {int(wait) + 1} seconds.",
                retry_after=int(wait) + 1,
            )

    def failed(self, email: str, address: str) -> None:
        """Count one failure."""
        now = self._monotonic()
        with self._lock:
            for key, _ in _keys(email, address):
                entry = self._failures.pop(key, None)
                if entry is None or now - entry.last > _FORGET_SECONDS:
                    entry = _Failures(0, now)
                entry.count, entry.last = entry.count + 1, now
                self._failures[key] = entry
            while len(self._failures) > _MAX_KEYS:
                self._failures.popitem(last=False)

    def succeeded(self, email: str) -> None:
        """Forget the failures of a user name; those of the address stay."""
        with self._lock:
            self._failures.pop(("email", email), None)

    def _wait(self, key: tuple[str, str], longest: float, now: float) -> float:
        entry = self._failures.get(key)
        if entry is None or entry.count < FREE_FAILURES:
            return 0.0
        return entry.last + min(longest, 2.0 ** min(entry.count - FREE_FAILURES, 20)) - now


def _keys(email: str, address: str) -> tuple[tuple[tuple[str, str], float], ...]:
    return (("email", email), 30.0), (("address", _network(address)), 900.0)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)
