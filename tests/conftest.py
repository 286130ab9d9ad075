"""The whole platform as its real processes, for tests that no single member can make."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

T = TypeVar("T")

PATIENCE_SECONDS = 40.0
_NUMBERS = count(0, 200)
"""Unix numbers of platforms that run at once differ: deleting a site ends whatever its number runs."""


def free_port() -> int:
    """A port that nobody has now, and the next one neither; outgoing connections do not take numbers this low."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def until(what: str, look: Callable[[], T | None], seconds: float = PATIENCE_SECONDS) -> T:
    """Look again and again until there is something to see; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = look()
        if seen is not None:
            return seen
        time.sleep(0.01)
    pytest.fail(f"waited {seconds:.0f} seconds for {what}, in vain")


class RunningPlatform:
    """A platform of the test's own: its folder, its processes, its API, its sites."""

    def __init__(self, folder: Path, extra_settings: str = "") -> None:
        self.folder = folder
        self.port, self.site_port = free_port(), free_port()
        self.url = f"http://localhost:{self.port}"
        self.config = folder / "hosthold.toml"
        self.accounts_directory = folder / "accounts"
        self.accounts_directory.mkdir()
        self.uid_first = 300_000 + os.getpid() % 290 * 2000 + next(_NUMBERS)
        self.extra_settings = extra_settings
        self.extra_environment: dict[str, str] = {}
        self.write_settings()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.admin = "admin@example.net"
        self.token = ""
        self._client = httpx.Client(timeout=30, limits=httpx.Limits(max_keepalive_connections=0))
        self.customer = ""

    def write_settings(self) -> None:
        """Write the settings file anew, from what this object says now."""
        self.config.write_text(
            f'state = "{self.folder}/state"\n[web]\nport = {self.port}\npublic_url = "{self.url}"\n'
            f'[names]\nlocal_suffixes = ["localhost", "test"]\n[node]\nuid_first = {self.uid_first}\n'
            f'accounts_directory = "{self.accounts_directory}"\n'
            f'listen = {{ address = "127.0.0.1", port = {self.site_port} }}\n{self.extra_settings}'
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this platform's processes."""
        return {**os.environ, "HOSTHOLD_CONFIG": str(self.config), **self.extra_environment}

    @property
    def database_url(self) -> str:
        """Where the platform's database is."""
        settings = tomllib.loads(self.config.read_text())
        return str(settings.get("database", {}).get("url", f"sqlite:///{self.folder}/state/hosthold.db"))

    @property
    def state(self) -> Path:
        """The folder of the node: sites, hosts, sockets."""
        return self.folder / "state" / "node"

    def command(self, *arguments: str, status: int = 0) -> str:
        """Run `hosthold` with these arguments; its output, after the exit status was seen to be `status`."""
        done = subprocess.run(
            [sys.executable, "-m", "hosthold.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def start(self, *names: str) -> None:
        """Start some of web, worker and node as processes of their own; all three if none is named."""
        for name in names or ("node", "worker", "web"):
            log = (self.folder / f"{name}.log").open("ab")
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "hosthold.cli", name, *(["--end-services"] if name == "node" else [])],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            log.close()

    def kill(self, name: str) -> None:
        """End a process at once, as a crash would."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End all processes in good order."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            process.wait(30)
        self.processes.clear()
        self._client.close()

    def set_up(self) -> None:
        """Initialise, start, and make a package and a customer."""
        self.command("init", "--admin", self.admin, "--name", "Test hosting")
        self.token = json.loads(self.command("token", "create", "--name", "tests", "--json"))["secret"]
        self.start()
        until("the panel", lambda: self.is_up() or None)
        until("the node", lambda: any(node["phase"] == "ready" for node in self.get("/nodes")["items"]) or None)
        package = self.api("POST", "/packages", {"name": "Test", "max_sites": 10_000}).json()
        self.customer = self.api("POST", "/accounts", {"name": "Customer", "package_id": package["id"]}).json()["id"]

    def is_up(self) -> bool:
        """Whether the panel answers that all is well."""
        try:
            return self._client.get(f"http://127.0.0.1:{self.port}/health/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A request to the public API with the administrator's token."""
        return self._client.request(
            method,
            f"http://127.0.0.1:{self.port}/api/v1{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.token}", **headers},
        )

    def get(self, path: str) -> Any:
        """The JSON of a GET that succeeds."""
        answer = self.api("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def planned_changes(self, site_id: str) -> list[dict[str, Any]]:
        """What the site's plan would change; asked again while the worker has other things to do."""

        def look() -> list[dict[str, Any]] | None:
            answer = self.api("GET", f"/sites/{site_id}/plan")
            assert answer.status_code in (200, 503), answer.text
            return list(answer.json()["changes"]) if answer.status_code == 200 else None

        return until("the plan", look)

    def declare(self, domain: str, **more: Any) -> dict[str, Any]:
        """Declare a site of the customer."""
        answer = self.api("POST", "/sites", {"domain": domain, "account_id": self.customer, **more})
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def settled(self, site_id: str, *phases: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The site, once it is in one of `phases` (ready or failed, if none is named) for its present declaration."""

        def look() -> dict[str, Any] | None:
            site = self.get(f"/sites/{site_id}")
            is_present = site["phase"] != "ready" or site["observed_generation"] == site["generation"]
            return site if site["phase"] in (phases or ("ready", "failed")) and is_present else None

        return until(f"site {site_id} to be {' or '.join(phases) or 'settled'}", look, seconds)

    def online(self, domain: str, **more: Any) -> dict[str, Any]:
        """A declared site that is ready."""
        site = self.settled(self.declare(domain, **more)["id"])
        assert site["phase"] == "ready", site["conditions"]
        return site

    def gone(self, site_id: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until nothing of a deleted site is known any more."""
        until("the site to be gone", lambda: self.api("GET", f"/sites/{site_id}").status_code == 404 or None, seconds)

    def visit(self, host: str, path: str = "/", method: str = "GET") -> tuple[int, str]:
        """A visit to a site through the web server: status and page; status 0 where the connection is closed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.site_port, timeout=10)
        try:
            connection.request(method, path, headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def sign_in_link(self) -> str:
        """A link that signs the administrator in once."""
        return self.command("token", "sign-in-link", self.admin).strip()

    def traces_of(self, site: dict[str, Any]) -> list[str]:
        """Whatever is left of a site on this machine: files, links, sockets, processes, accounts, temporary files."""
        names = (site["name"], site["domain"], *site["aliases"])
        found = [str(path) for path in self.state.rglob("*") if any(name in path.name for name in names)]
        found += [str(path) for path in (self.state / "trash").glob("*")]
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if f"{self.state}/sites/{site['name']}/".encode() in (folder / "cmdline").read_bytes():
                    found.append(f"process {folder.name}")
            except OSError:
                continue
        accounts = self.accounts_directory / "passwd"
        if accounts.is_file():
            found += [line for line in accounts.read_text().splitlines() if line.startswith(f"{site['name']}:")]
        return found


@pytest.fixture(scope="session")
def platform() -> Iterator[RunningPlatform]:
    """One whole platform for all tests that leave it as they found it."""
    yield from running()


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder through which sites' own users may pass; those of pytest are closed to everybody else."""
    with tempfile.TemporaryDirectory(prefix="hosthold-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def running(extra_settings: str = "", **extra_environment: str) -> Iterator[RunningPlatform]:
    """A whole platform that runs until the test is over."""
    with open_folder() as folder:
        started = RunningPlatform(folder, extra_settings)
        started.extra_environment = extra_environment
        try:
            started.set_up()
            yield started
        finally:
            started.stop()
