"""Clocks that jump: all processes of the platform are told another time than the machine's, and another one again."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.conftest import RunningPlatform, open_folder, until
from tests.faults.invariants import add_page, check_invariants, fingerprint

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="needs faketime")


class Clock:
    """The difference between the platform's time and the machine's; its monotonic clock goes on as it does."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "time"
        self.jump("+0")
        library = folder / LIBRARY.name
        library.write_bytes(_without_conditions(LIBRARY.read_bytes()))
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, to: str) -> None:
        """Let it be so much later, or earlier."""
        temporary = self._file.with_suffix(".new")
        temporary.write_text(f"{to}\n")
        temporary.replace(self._file)


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    """A clock to turn."""
    with open_folder() as folder:
        yield Clock(folder)


@pytest.fixture(scope="module")
def platform(clock: Clock) -> Iterator[RunningPlatform]:
    """A platform by that clock."""
    with open_folder() as folder:
        started = RunningPlatform(folder)
        started.extra_environment = clock.environment
        try:
            started.set_up()
            yield started
        finally:
            started.stop()


def test_r30_jumps_of_a_year_and_back_hold_nothing_up_and_change_no_site(
    platform: RunningPlatform, clock: Clock
) -> None:
    steady = platform.online("steady.test")
    add_page(platform, steady)
    before = fingerprint(platform, [steady])
    sites = []
    for number, jump in enumerate(("+400d", "-1h", "-400d", "+0")):
        waiting = platform.declare(f"jump{number}.test")
        year = _year(platform)
        clock.jump(jump)
        until("the jump", lambda year=year: _year(platform) != year or None)  # type: ignore[misc]
        after = platform.declare(f"after{number}.test")  # an order may be refused while not all have noticed
        sites += [waiting, platform.settled(after["id"], "ready")]
    for site in sites:
        add_page(platform, platform.settled(site["id"], "ready"))
    check_invariants(platform, [steady, *sites], before=before)


def _without_conditions(library: bytes) -> bytes:
    """The library, with the names of its three functions for conditions spoiled, so that those of the C library serve.

    Its own take a lock that stays taken in a process forked meanwhile, which then waits for ever; nothing needs them,
    for Python waits by the monotonic clock.
    """
    return library.replace(b"\0pthread_cond_", b"\0without_cond_", 3)


def _year(platform: RunningPlatform) -> int:
    return parsedate_to_datetime(platform.api("GET", "/sites").headers["date"]).year
