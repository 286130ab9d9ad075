"""Connections to the database that are cut at any moment: what was answered is stored, the rest left nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from random import Random
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from conftest import PostgreSQL
from tests.conftest import RunningPlatform, running, until
from tests.faults.invariants import add_page, check_invariants, fingerprint


@pytest.fixture(scope="module")
def platform(postgresql: PostgreSQL) -> Iterator[RunningPlatform]:
    """A platform with database and queues on a server."""
    yield from running(f'[database]\nurl = "{postgresql.new_database()}"\n')


class Cutter:
    """Ends one connection of a database at a time, some thirty a second, while the block runs.

    Those that are in a transaction come first, for there it matters most.
    """

    _VICTIM = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
        ORDER BY state = 'idle', random() LIMIT 1"""

    def __init__(self, url: str, seed: int) -> None:
        self.cuts = 0
        self._random = Random(seed)
        self._url = url.replace("+psycopg", "")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.wait(self._random.uniform(0, 0.06)):
                self.cuts += len(connection.execute(self._VICTIM).fetchall())

    def __enter__(self) -> Cutter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_r13_connections_that_are_cut_lose_and_double_nothing(platform: RunningPlatform) -> None:
    steady = platform.online("steady.test")
    add_page(platform, steady)
    before = fingerprint(platform, [steady])
    statuses: list[int] = []

    def ask(method: str, path: str, body: Any = None) -> Any:
        headers = {"Idempotency-Key": uuid4().hex} if method == "POST" else {}

        def look() -> Any:
            answer = platform.api(method, path, body, **headers)
            statuses.append(answer.status_code)
            return answer.json() if answer.status_code == 202 else None

        return until(f"{method} {path}", look)

    with Cutter(platform.database_url, seed=1) as cutter:
        sites = [
            ask("POST", "/sites", {"domain": f"cut{number}.test", "account_id": platform.customer})
            for number in range(8)
        ]
        ask("PATCH", f"/sites/{sites[0]['id']}", {"aliases": ["also.test"]})
        ask("DELETE", f"/sites/{sites[1]['id']}")
        for _ in range(20):
            statuses.append(platform.api("GET", "/sites").status_code)
    assert cutter.cuts > 10
    assert set(statuses) <= {200, 202, 503}
    gone = sites.pop(1)
    for site in sites:
        platform.settled(site["id"], "ready", seconds=90)
        add_page(platform, site)
    check_invariants(platform, [steady, *sites], [gone], before)
