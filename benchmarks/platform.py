"""The whole platform as its real processes, on a folder of its own that is gone afterwards."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hosthold.cli.store import operator
from hosthold.db.unit_of_work import Database, SilentBell
from hosthold.plugins.discovery import PluginSettingsSource, discover
from hosthold.settings import load_settings
from hosthold.types.actor import Actor

from benchmarks.report import say

ADMINISTRATOR = "admin@bench.example.net"
IDLE_SECONDS = 10
"""Shorter than usual: nobody wants to wait a minute until all sites sleep."""
UID_FIRST = 700_000
"""Far from the numbers of a platform that may live on the same machine; its account files are not touched either."""
PATIENCE_SECONDS = 120.0
IMAGE_BYTES = 16 * 2**30
_KEPT_OPEN = 5.0
"""Servers close connections that were quiet for longer."""

T = TypeVar("T")


class Platform:
    """One platform: its settings, its processes, its API."""

    def __init__(self, folder: Path, database_url: str = "", queue: tuple[str, str] = ("auto", "")) -> None:
        self.folder = folder
        self.port, self.site_port, self.tls_port = free_port(), free_port(), free_port()
        self.node_state = folder / "state" / "node"
        self._config = folder / "hosthold.toml"
        (folder / "accounts").mkdir()
        self._config.write_text(
            f'state = "{folder}/state"\n[web]\nport = {self.port}\n[names]\nlocal_suffixes = ["localhost"]\n'
            f"[drivers.runtime.php]\nidle_seconds = {IDLE_SECONDS}\n"
            f'[database]\nurl = "{database_url}"\n[queue]\nkind = "{queue[0]}"\nurl = "{queue[1]}"\n'
            f'[node]\naccounts_directory = "{folder}/accounts"\n'
            f"uid_first = {UID_FIRST}\n"
            f'listen = {{ address = "127.0.0.1", port = {self.site_port}, tls_port = {self.tls_port} }}\n'
        )
        self.settings = load_settings(self._config)
        self.registry = discover(PluginSettingsSource.of(self.settings))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.command("init", "--admin", ADMINISTRATOR)
        self.token: str = json.loads(self.command("token", "create", "--name", "bench", "--json"))["secret"]
        self._last_call = 0.0
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this platform's processes."""
        return {**os.environ, "HOSTHOLD_CONFIG": str(self._config)}

    def command(self, *arguments: str) -> str:
        """Run a command of Hosthold; its output."""
        done = subprocess.run(
            [sys.executable, "-m", "hosthold.cli", *arguments], env=self.environment, capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(f"hosthold {arguments[0]} failed:\n{done.stderr or done.stdout}")
        return done.stdout

    def start(self, *names: str) -> None:
        """Start some of web, worker and node, and wait until they work."""
        for name in names:
            options = ("--end-services",) if name == "node" else ()
            with (self.folder / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "hosthold.cli", name, *options], env=self.environment, stdout=log,
                    stderr=log, start_new_session=True,
                )  # fmt: skip
        if "web" in names:
            self.until("the API", lambda: self._is_up() or None)
        if "node" in names:
            self.until("the node", lambda: self.get("/nodes")["items"][0]["phase"] == "ready" or None)

    def process(self, name: str) -> int:
        """The number of a process that was started."""
        return self._processes[name].pid

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Web, worker and node stopped meanwhile, as SIGSTOP does it; sites are served on."""
        for process in self._processes.values():
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in self._processes.values():
                process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End all processes in good order; a worker that has orders left to wait for is killed, as it may be."""
        self._connection.close()
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def until(self, what: str, look: Callable[[], T | None], pause: float = 0.05) -> T:
        """Look until there is something to see; ends the benchmark if a process died or it takes too long."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise SystemExit(f"{name} ended:\n{(self.folder / f'{name}.log').read_text()[-4000:]}")
            seen = look()
            if seen is not None:
                return seen
            time.sleep(pause)
        raise SystemExit(f"waited {PATIENCE_SECONDS:.0f} s for {what}, in vain")

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A request to the API over a connection that stays open: its status, and its JSON."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if time.monotonic() - self._last_call > _KEPT_OPEN:
            self._connection.close()
        self._last_call = time.monotonic()
        self._connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")

    def get(self, path: str) -> Any:
        """The JSON of a GET that must succeed."""
        status, answer = self.call("GET", path)
        if status != 200:
            raise SystemExit(f"GET {path} answered {status}: {answer}")
        return answer

    def post(self, path: str, body: Any) -> Any:
        """The JSON of a POST that must succeed."""
        status, answer = self.call("POST", path, body)
        if status not in (201, 202):
            raise SystemExit(f"POST {path} answered {status}: {answer}")
        return answer

    @contextmanager
    def database(self) -> Iterator[tuple[Database, Actor]]:
        """The platform's database and its operator, for filling and for looking. Nobody is rung."""
        database = Database(self.settings, self.registry, SilentBell())
        try:
            yield database, operator(database)
        finally:
            database.close()

    def _is_up(self) -> bool:
        try:
            return self.call("GET", "/nodes")[0] == 200
        except OSError:
            self._connection.close()
            return False


@contextmanager
def temporary_platform(database_url: str = "", queue: tuple[str, str] = ("auto", "")) -> Iterator[Platform]:
    """A platform that is set up and not started yet; its processes and its folder are gone afterwards."""
    with temporary_folder() as folder:
        platform = Platform(folder, database_url, queue)
        try:
            yield platform
        finally:
            platform.stop()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that every user may pass through, as a web server's workers must.

    Where that can be, it is a new ext4 file system in an image of its own: on an old and large one, making a file can
    take thirty times as long, and then the benchmark tells about the disk's history.
    """
    above = Path(tempfile.mkdtemp(prefix="hosthold-bench-"))
    above.chmod(0o711)
    folder = above / "disk"
    folder.mkdir()
    is_mounted = os.geteuid() == 0 and shutil.which("mkfs.ext4") is not None and _mounted(above / "image", folder)
    if not is_mounted:
        say("no file system of its own: the figures depend on the age of this machine's")
    try:
        folder.chmod(0o711)
        yield folder
    finally:
        if is_mounted:
            subprocess.run(("umount", "--lazy", str(folder)), check=True)  # what still ends lets go of it soon
        shutil.rmtree(above)


def _mounted(image: Path, folder: Path) -> bool:
    """Make a file system in a new sparse file and mount it; whether this machine lets us."""
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    subprocess.run(("mkfs.ext4", "-q", "-F", str(image)), check=True)
    return subprocess.run(("mount", "-o", "loop", str(image), str(folder)), capture_output=True).returncode == 0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
