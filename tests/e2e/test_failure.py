"""Failing sites: rolled back, explained, and no neighbour notices."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RunningPlatform, open_folder, running, until
from tests.e2e.test_spine import Visitors
from tests.faults.invariants import add_page, check_invariants

BROKEN = "7.1"
"""A version whose master ends at once, with a reason."""
MUTE = "7.2"
"""A version whose master runs and answers nobody."""
MISSING = "7.3"
"""A version that the node once had."""


@pytest.fixture(scope="module")
def programs() -> Iterator[Path]:
    """A folder with a real PHP-FPM and others that fail in their own ways."""
    with open_folder() as folder:
        real = sorted(Path("/usr/sbin").glob("php-fpm8.*"))[-1]
        (folder / real.name).symlink_to(real)
        scripts = {
            BROKEN: "echo 'ERROR: unable to bind listening socket: broken on purpose (98)' >&2\nexit 78\n",
            MUTE: "exec sleep 600\n",
            MISSING: "exec sleep 600\n",
        }
        for version, script in scripts.items():
            program = folder / f"php-fpm{version}"
            program.write_text(f"#!/bin/sh\n{script}")
            program.chmod(0o755)
        yield folder


@pytest.fixture(scope="module")
def platform(programs: Path) -> Iterator[RunningPlatform]:
    """A platform whose node has those programs."""
    yield from running(f'[drivers.runtime.php]\ndirectory = "{programs}"\n')


def test_r11_a_master_that_does_not_start_fails_its_site_alone_with_its_own_words(platform: RunningPlatform) -> None:
    good = platform.online("good.test")
    with Visitors(platform, "good.test") as visitors:
        bad = platform.settled(platform.declare("bad.test", runtime={"version": BROKEN})["id"], "failed")
    assert visitors.failures == []
    assert "broken on purpose" in bad["conditions"][0]["message"]
    assert bad["conditions"][0]["hint"]
    assert platform.traces_of(bad) == []
    assert platform.visit("bad.test") == (0, "")
    platform.api("PATCH", f"/sites/{bad['id']}", {"runtime": {"driver": "php", "version": good["runtime"]["version"]}})
    assert platform.settled(bad["id"])["phase"] == "ready"
    assert platform.visit("bad.test")[0] == 200


def test_a_site_that_does_not_answer_is_rolled_back_while_others_serve(platform: RunningPlatform) -> None:
    platform.online("steady.test")
    with Visitors(platform, "steady.test") as visitors:
        mute = platform.settled(platform.declare("mute.test", runtime={"version": MUTE})["id"], "failed")
    assert visitors.failures == []
    assert mute["conditions"][0]["reason"] == "ProbeFailed"
    assert platform.traces_of(mute) == []


def test_a_change_that_fails_leaves_the_site_as_it_served_before(platform: RunningPlatform) -> None:
    site = platform.online("before.test")
    with Visitors(platform, "before.test") as visitors:
        platform.api("PATCH", f"/sites/{site['id']}", {"runtime": {"driver": "php", "version": BROKEN}})
        platform.settled(site["id"], "failed")
    assert visitors.failures == []
    assert platform.visit("before.test")[0] == 200


def test_of_sites_declared_together_only_the_broken_one_fails(platform: RunningPlatform) -> None:
    versions = [None, None, BROKEN, None, None]
    sites = [
        platform.declare(f"batch{number}.test", runtime={"version": version}) for number, version in enumerate(versions)
    ]
    phases = [platform.settled(site["id"])["phase"] for site in sites]
    assert phases == ["ready", "ready", "failed", "ready", "ready"]
    good = [site for site, version in zip(sites, versions, strict=True) if version is None]
    for site in good:
        add_page(platform, site)
    check_invariants(platform, good)


def test_r34_a_version_that_was_removed_is_named(platform: RunningPlatform, programs: Path) -> None:
    (programs / f"php-fpm{MISSING}").unlink()
    site = platform.settled(platform.declare("missing.test", runtime={"version": MISSING})["id"], "failed")
    condition = site["conditions"][0]
    assert condition["reason"] in ("RuntimeMissing", "NotInstalled")
    assert MISSING in condition["message"]


def test_a_killed_web_server_is_started_again(platform: RunningPlatform) -> None:
    platform.online("revived.test")
    (master,) = _masters_of_nginx(platform)
    os.kill(master, 9)
    until("a new master", lambda: set(_masters_of_nginx(platform)) - {master} or None)
    until("the web server", lambda: platform.visit("revived.test")[0] == 200 or None)
    assert len(_masters_of_nginx(platform)) == 1
    check_invariants(platform, [])


def test_a_killed_php_master_is_started_again_on_the_same_socket(platform: RunningPlatform) -> None:
    site = platform.online("phoenix.test")
    for process in _processes(platform, site["name"]):
        os.kill(process, 9)
    assert platform.visit("phoenix.test")[0] in (200, 502, 504)
    until("PHP", lambda: platform.visit("phoenix.test")[0] == 200 or None)


def test_a_taken_port_is_a_clear_condition_of_the_node() -> None:
    with open_folder() as folder, socket.socket() as other:
        platform = RunningPlatform(folder)
        other.bind(("127.0.0.1", platform.site_port))
        other.listen()
        platform.command("init", "--admin", platform.admin)
        platform.token = _token(platform)
        platform.start()
        try:
            until("the panel", lambda: platform.is_up() or None)
            node = until(
                "the node to fail",
                lambda: next((node for node in platform.get("/nodes")["items"] if node["phase"] == "failed"), None),
            )
            assert node["conditions"][0]["reason"] == "PortTaken"
            other.close()
            until("the node", lambda: platform.get("/nodes")["items"][0]["phase"] == "ready" or None)
        finally:
            platform.stop()


def _token(platform: RunningPlatform) -> str:
    return str(json.loads(platform.command("token", "create", "--name", "tests", "--json"))["secret"])


def _masters_of_nginx(platform: RunningPlatform) -> list[int]:
    marker = f"{platform.state}/nginx/nginx.conf".encode()
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if marker in _command_line(folder)]


def _processes(platform: RunningPlatform, name: str) -> list[int]:
    marker = f"{platform.state}/sites/{name}/".encode()
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if marker in _command_line(folder)]


def _command_line(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""
