"""Two real versions of PHP on one node: chosen, switched under load in both directions, never mixed up."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningPlatform, running
from tests.e2e.test_spine import write

ROOT = Path(__file__).parents[2]
OLD, NEW = "8.2", "8.4"
CACHE = Path("/var/cache/hosthold-tests/php")
"""Outside of the repository, and readable by every site's user; kept, because unpacking takes a quarter of a minute."""

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: installs packages, and every site has a user of its own"),
]


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    """A platform whose node has both versions, found by looking into one folder."""
    unpacked = subprocess.run([str(ROOT / "scripts/another-php"), str(CACHE)], capture_output=True, text=True)
    if unpacked.returncode != 0:
        pytest.skip(f"PHP {NEW} could not be unpacked: {unpacked.stderr.strip()[-300:]}")
    CACHE.parent.chmod(0o755)
    link = CACHE / f"php-fpm{OLD}"
    link.unlink(missing_ok=True)
    link.symlink_to(f"/usr/sbin/php-fpm{OLD}")
    yield from running(f'[drivers.runtime.php]\ndirectory = "{CACHE}"\n')


class Visitor:
    """Somebody who asks for a page of a site again and again, and notes every answer."""

    def __init__(self, platform: RunningPlatform, host: str) -> None:
        self._platform, self._host = platform, host
        self.answers: list[tuple[int, str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._stop.is_set():
            self.answers.append(self._platform.visit(self._host, "/version.php"))


def test_a_site_is_switched_between_versions_while_its_visitors_see_no_error(platform: RunningPlatform) -> None:
    site = platform.online("switched.test", runtime={"version": OLD})
    neighbour = platform.online("neighbour.test", runtime={"version": NEW})
    for one in (site, neighbour):
        write(platform, one, "version.php", "<?php echo PHP_VERSION;")
    with Visitor(platform, "switched.test") as visitor, Visitor(platform, "neighbour.test") as other:
        for version in (NEW, OLD, NEW, OLD):
            changed = platform.api("PATCH", f"/sites/{site['id']}", {"runtime": {"version": version}})
            assert changed.status_code == 202, changed.text
            assert platform.settled(site["id"])["phase"] == "ready"
            seen = len(visitor.answers)
            for _ in range(20):
                status, answered = platform.visit("switched.test", "/version.php")
                assert (status, answered.rpartition(".")[0]) == (200, version)
            assert {page.rpartition(".")[0] for _, page in visitor.answers[seen + 1 :]} <= {version}
    assert len(visitor.answers) > 100
    assert {status for status, _ in visitor.answers} == {200}
    assert {(status, page.rpartition(".")[0]) for status, page in other.answers} == {(200, NEW)}


def test_no_socket_answers_for_another_site_whatever_becomes_of_it(platform: RunningPlatform) -> None:
    other = tell_who(platform, platform.online("other.test", runtime={"version": NEW}))
    site = tell_who(platform, platform.online("again.test", runtime={"version": OLD}))
    theirs = f"{NEW} {other['uid']}"
    with Visitor(platform, "again.test") as visitor, Visitor(platform, "other.test") as neighbour:
        for version in (NEW, OLD):
            platform.api("PATCH", f"/sites/{site['id']}", {"runtime": {"version": version}})
            assert platform.settled(site["id"])["phase"] == "ready"
            assert platform.visit("again.test", "/version.php") == (200, f"{version} {site['uid']}")
        path = platform.state / "run" / "sockets" / f"{site['name']}.sock"
        for script in (pages(platform, other) / "version.php", pages(platform, site) / "version.php"):
            answer = ask_php(path, script)
            assert theirs not in answer
            assert (f"{OLD} {site['uid']}" in answer) == (script.parents[2].name == site["name"])
        platform.api("DELETE", f"/sites/{site['id']}", **{"If-Match": "*"})
        platform.gone(site["id"])
        assert not path.exists()
        again = tell_who(platform, platform.online("again.test", runtime={"version": NEW}))
        assert again["uid"] != site["uid"]
        assert platform.visit("again.test", "/version.php") == (200, f"{NEW} {again['uid']}")
    owners = {page.split(" ")[1] for status, page in visitor.answers if status == 200 and page.count(" ") == 1}
    assert owners <= {site["uid"], again["uid"]}
    assert set(neighbour.answers) == {(200, theirs)}


def tell_who(platform: RunningPlatform, site: dict[str, Any]) -> dict[str, Any]:
    """Give the site a page that tells version and user; the site with its user's number."""
    text = '<?php echo PHP_MAJOR_VERSION, ".", PHP_MINOR_VERSION, " ", posix_geteuid();'
    write(platform, site, "version.php", text)
    return {**site, "uid": str(pages(platform, site).stat().st_uid)}


def pages(platform: RunningPlatform, site: dict[str, Any]) -> Path:
    return platform.state / "sites" / str(site["name"]) / "home" / "public"


def ask_php(path: Path, script: Path) -> str:
    """What the master at a socket answers to a request for a script, as FastCGI has it."""
    parameters = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/version.php", "SCRIPT_FILENAME": str(script)}
    pairs = b"".join(bytes((len(key), len(value))) + f"{key}{value}".encode() for key, value in parameters.items())
    assert all(len(value) < 128 for value in parameters.values())
    records = ((1, struct.pack("!HB5x", 1, 0)), (4, pairs), (4, b""), (5, b""))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(path))
        for kind, content in records:
            connection.sendall(struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content)
        answer = b""
        while part := connection.recv(4096):
            answer += part
    return answer.decode(errors="replace")


def test_all_versions_are_listed_with_the_day_on_which_they_end(platform: RunningPlatform) -> None:
    found = {each["version"]: each for each in platform.get("/runtimes")["items"]}
    assert (found[OLD]["support"]["ends_on"], found[NEW]["support"]["ends_on"]) == ("2026-12-31", "2028-12-31")
    assert found[NEW]["is_installed"]
    assert f"php {NEW}" in platform.command("runtimes")


def test_the_newest_version_is_taken_where_none_is_named(platform: RunningPlatform) -> None:
    assert platform.online("newest.test")["runtime"]["version"] == NEW


def test_a_version_that_is_not_installed_is_refused_with_those_that_are(platform: RunningPlatform) -> None:
    site = {"domain": "old.test", "account_id": platform.customer, "runtime": {"version": "5.6"}}
    refused = platform.api("POST", "/sites", site)
    assert refused.status_code == 422
    assert f"{NEW}, {OLD}" in refused.text
