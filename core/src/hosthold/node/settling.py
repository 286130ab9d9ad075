"""Telling from outside when a program that was just started works."""

from __future__ import annotations

import time
from collections.abc import Callable

from hosthold.node import process


def settles(
    pid: int, pidfd: int, *, has_socket: bool, settle: float, quiet: float, complains: Callable[[], bool]
) -> bool:
    """Whether it comes to wait for work, or lives for `settle` seconds; false if it ends before that.

    One that was given a socket waits for work once it has been asleep for `quiet` seconds; another once it listens by
    itself, unless what it `complains` of may be about to end it.
    """
    began = still_since = time.monotonic()
    switches = -1
    while not process.has_ended(pidfd, 0.003):
        now = time.monotonic()
        if now - began > settle:
            return True
        if not has_socket:
            if process.listens(pid) and not complains():
                return True
        elif (count := process.switches_of(pid)) != switches or not process.is_asleep(pid):
            switches, still_since = count, now
        elif now - still_since > quiet:
            return True
    return False
