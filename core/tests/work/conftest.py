"""Queues with keys, in each kind of store; plugins that listen."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hosthold.plugins.hooks import admit, specified_hooks
from hosthold.plugins.manager import PluginRegistry
from hosthold.settings import QueueSettings, Settings
from hosthold.types.manifest import Plugin
from hosthold.work.keys import key_file, make_key
from hosthold.work.queue import WORKER, node_queue

Listening = Callable[[Mapping[str, Plugin]], PluginRegistry]


@pytest.fixture(scope="session")
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Redis server of our own, reachable by a Unix socket alone."""
    executable = shutil.which("redis-server")
    if executable is None:
        pytest.skip("redis-server is not installed")
    folder = tmp_path_factory.mktemp("redis")
    path = folder / "redis.sock"
    server = subprocess.Popen(
        [executable, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin"},
    )
    try:
        deadline = time.monotonic() + 10
        while not _answers(path):
            assert server.poll() is None, "redis-server ended"
            assert time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.01)
        yield path
    finally:
        server.terminate()
        server.wait(timeout=10)


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def queue_settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Settings for each kind of queue, with the keys of the worker and of one node."""
    url = ""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").new_database()
    elif request.param == "redis":
        url = f"unix://{_emptied(request.getfixturevalue('redis_socket'))}"
    chosen = settings.model_copy(update={"queue": QueueSettings(kind=request.param, url=url)})
    for queue in (WORKER, node_queue(chosen.node.name)):
        make_key(key_file(chosen, queue))
    return chosen


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers that look often whether they are to stop."""
    monkeypatch.setattr("hosthold.work.queue.READ_TIMEOUT", 0.05)


@pytest.fixture
def listening() -> Listening:
    """Makes a registry of plugins, by name."""

    def make(plugins: Mapping[str, Plugin]) -> PluginRegistry:
        admitted = {name: admit(name, plugin, "hosthold", {}) for name, plugin in plugins.items()}
        return PluginRegistry(specified_hooks(), [], admitted, {})

    return make


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


def _emptied(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"FLUSHALL\r\n")
        assert connection.recv(16) == b"+OK\r\n"
    return path
