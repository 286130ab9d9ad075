"""The same platform on PostgreSQL, with its doorbells in PostgreSQL and in Redis."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import PostgreSQL
from tests.conftest import RunningPlatform, open_folder, running, until


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    """The URL of a throw-away Redis on a Unix socket."""
    with open_folder() as folder:
        path = folder / "redis.sock"
        server = subprocess.Popen(
            ["/usr/bin/redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)],
            stdout=subprocess.DEVNULL,
        )
        until("Redis", lambda: path.exists() or None)
        yield f"unix://{path}"
        server.terminate()
        server.wait()


@pytest.fixture(params=["postgresql", "redis"])
def platform(request: pytest.FixtureRequest, postgresql: PostgreSQL) -> Iterator[RunningPlatform]:
    """A platform on PostgreSQL, with either kind of doorbell."""
    settings = f'[database]\nurl = "{postgresql.new_database()}"\n'
    if request.param == "redis":
        settings += f'[queue]\nkind = "redis"\nurl = "{request.getfixturevalue("redis")}"\n'
    yield from running(settings)


def test_a_site_comes_and_goes(platform: RunningPlatform) -> None:
    site = platform.online("stored.test")
    assert platform.visit("stored.test")[0] == 200
    assert platform.planned_changes(site["id"]) == []
    platform.api("DELETE", f"/sites/{site['id']}")
    platform.gone(site["id"])
    assert platform.traces_of(site) == []
    assert not list(Path(platform.folder).glob("state/*.db"))
