"""A platform that was installed from wheels on a machine with systemd, by its own units."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import until
from tests.systemd.machine import ROOT, Machine

PACKAGES = ("hosthold", "hosthold-sdk", "hosthold-webserver-nginx", "hosthold-php-fpm", "hosthold-supervisor-systemd")
UNITS = ("hosthold-node.service", "hosthold-worker.service", "hosthold-web.service")
LIMITS = {"cpu_percent": 150, "total_memory_mb": 768, "tasks": 96, "io_weight": 50}
FIRST_UID = 890_000
"""Numbers are the whole kernel's: no other platform of the tests has these."""
HOSTHOLD = "/opt/hosthold/bin/hosthold"


def build(source: Path, folder: Path, *packages: str) -> list[str]:
    """The wheels of some members of a source tree."""
    for package in packages:
        _uv("build", "--quiet", "--wheel", "--package", package, "--out-dir", str(folder), folder=source)
    return [str(path) for path in sorted(folder.glob("*.whl"))]


def _uv(*arguments: str, folder: Path = ROOT) -> None:
    uv = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [uv, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


class Installed:
    """The platform on its machine: its API, its sites."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.sites = machine.files / "srv/hosthold/sites"
        self._token = ""
        self._customer = ""
        self.sleepy: dict[str, Any] = {}
        """A site that is left alone until it sleeps, which takes PHP some seconds."""

    def install(self, wheels: list[str], work: Path) -> None:
        """Do what docs/operations/running.md says, up to the platform's first start."""
        machine, files = self.machine, self.machine.files
        _uv("venv", "--quiet", "--relocatable", "--python", "/usr/bin/python3", str(work / "hosthold"))
        python = str(work / "hosthold/bin/python")
        constraints = str(ROOT / "constraints.txt")
        _uv(
            "pip", "install", "--quiet", "--compile-bytecode", "--python", python, "--constraint", constraints, *wheels
        )  # fmt: skip
        shutil.copytree(work / "hosthold", files / "opt/hosthold", symlinks=True)
        deploy = ROOT / "deploy/systemd"
        for unit in deploy.glob("*.service"):
            shutil.copy(unit, files / "etc/systemd/system")
        for kind in ("sysusers", "tmpfiles"):
            (files / f"etc/{kind}.d").mkdir(exist_ok=True)
            shutil.copy(deploy / f"hosthold.{kind}", files / f"etc/{kind}.d/hosthold.conf")
        _add_extrausers(files / "etc/nsswitch.conf")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemd-sysusers")
        machine.run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/hosthold.conf")
        settings = (deploy / "hosthold.toml").read_text().replace("[node]", f"[node]\nuid_first = {FIRST_UID}") + (
            '\n[names]\nlocal_suffixes = ["test"]\n\n[drivers.runtime.php]\nidle_seconds = 2\n'
        )
        (files / "etc/hosthold/hosthold.toml").write_text(settings)
        machine.run("chgrp", "hosthold", "/etc/hosthold/hosthold.toml")
        machine.run("chmod", "640", "/etc/hosthold/hosthold.toml")
        self.command("init", "--admin", "admin@example.net")

    def begin(self) -> None:
        """Start the platform, with a package and a customer."""
        self._token = json.loads(self.command("token", "create", "--name", "tests", "--json"))["secret"]
        self.machine.run("systemctl", "enable", "--quiet", "--now", *UNITS)
        self.await_platform()
        package = self.api("POST", "/packages", {"name": "Test", "max_sites": 10_000, "limits": LIMITS})
        self._customer = self.api("POST", "/accounts", {"name": "Customer", "package_id": package["id"]})["id"]
        self.sleepy = self.online("sleepy.test")

    def await_platform(self) -> None:
        """Wait until web answers, and node to worker."""

        def is_up() -> bool | None:
            try:
                return self.request(8600, "GET", "/health/ready", "localhost")[0] == 200 or None
            except OSError:
                return None

        until("the panel", is_up)
        until("the node", lambda: any(node["phase"] == "ready" for node in self.api("GET", "/nodes")["items"]) or None)

    def command(self, *arguments: str) -> str:
        """Run `hosthold` as the platform's user."""
        return self.machine.run("runuser", "-u", "hosthold", "--", HOSTHOLD, *arguments)

    def request(
        self, port: int, method: str, path: str, host: str, body: Any = None, **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        """A request on the machine: status, text and headers of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.sock = self.machine.connect(port)
        try:
            payload = None if body is None else json.dumps(body)
            sent = {"Host": host, "Connection": "close", "Content-Type": "application/json"} | headers
            connection.request(method, path, payload, sent)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace"), dict(answer.getheaders())
        finally:
            connection.close()

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """What the API answers to a request that succeeds."""
        given = {"Authorization": f"Bearer {self._token}"} | headers
        status, text, _ = self.request(8600, method, f"/api/v1{path}", "localhost:8600", body, **given)
        assert 200 <= status < 300, f"{method} {path}: {status} {text}"
        return json.loads(text) if text else None

    def online(self, domain: str) -> dict[str, Any]:
        """A declared site that is ready, with a page that tells who runs it."""
        site = self.api("POST", "/sites", {"domain": domain, "account_id": self._customer})
        self.settled(site["id"])
        page = self.sites / site["name"] / "home/public/who.php"
        page.write_text(
            "<?php echo getmypid(), ' ', posix_getuid(), ' ', posix_getppid(), ' ', ini_get('memory_limit');"
        )
        owner = page.parent.stat()
        os.chown(page, owner.st_uid, owner.st_gid)
        return dict(site)

    def change(self, site: dict[str, Any], **changes: Any) -> None:
        """Change a site, and wait until that is done."""
        self.api("PATCH", f"/sites/{site['id']}", changes)
        self.settled(site["id"])

    def settled(self, site_id: str) -> None:
        """Wait until the site is as it was declared last."""

        def look() -> bool | None:
            site = self.api("GET", f"/sites/{site_id}")
            if site["phase"] == "failed":
                pytest.fail(str(site["conditions"]))
            return (site["phase"] == "ready" and site["observed_generation"] == site["generation"]) or None

        until("the site to be ready", look)

    def who(self, domain: str) -> tuple[int, int, str]:
        """The user and the master of the PHP that answers for a site, and its memory limit."""
        status, text, _ = self.request(80, "GET", "/who.php", domain)
        assert status == 200, (status, text)
        _, uid, master, memory = text.split(" ")
        return int(uid), int(master), memory

    @contextmanager
    def visited(self, *domains: str) -> Iterator[list[str]]:
        """Visit sites all the time; every failure, and every other answer than 200, fails the test."""
        problems: list[str] = []
        visits: list[str] = []
        is_over = threading.Event()

        def visit(domain: str) -> None:
            while not is_over.wait(0.01):  # others have work to do as well
                try:
                    status, text, _ = self.request(80, "GET", "/who.php", domain)
                    visits.append(domain)
                    if status != 200:
                        problems.append(f"{domain}: {status} {text}")
                except OSError as error:
                    problems.append(f"{domain}: {error!r}")

        threads = [threading.Thread(target=visit, args=(domain,)) for domain in domains]
        for thread in threads:
            thread.start()
        try:
            yield problems
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
        assert problems == []
        assert set(visits) == set(domains)

    def shows(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit as systemd shows them."""
        lines = self.machine.run("systemctl", "show", *(f"--property={name}" for name in names), unit).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def planned(self, site: dict[str, Any]) -> list[Any]:
        """What a plan of the site would change."""

        def look() -> list[Any] | None:
            path = f"/api/v1/sites/{site['id']}/plan"
            status, text, _ = self.request(8600, "GET", path, "localhost:8600", Authorization=f"Bearer {self._token}")
            assert status in (200, 503), text
            return list(json.loads(text)["changes"]) if status == 200 else None

        return until("the plan", look)


def _add_extrausers(file: Path) -> None:
    lines = file.read_text().splitlines()
    names = ("passwd:", "group:", "shadow:")
    file.write_text("".join(f"{line}{' extrausers' if line.startswith(names) else ''}\n" for line in lines))
