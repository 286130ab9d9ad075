"""The spine: from a request to the API to a page from the site's own PHP, and back to nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx

from tests.conftest import RunningPlatform, until

PAGE = "<?php echo posix_getuid(), ' ', ini_get('memory_limit'), ' ', __DIR__;"


def write(platform: RunningPlatform, site: dict[str, object], name: str, content: str) -> None:
    """Put a file into a site's document root, as its owner would."""
    path = platform.state / "sites" / str(site["name"]) / "home" / "public" / name
    path.write_text(content)
    owner = path.parent.stat()
    os.chown(path, owner.st_uid, owner.st_gid)


def test_a_declared_site_answers_as_its_own_user_and_a_deleted_one_leaves_nothing(platform: RunningPlatform) -> None:
    site = platform.online("whole.test", aliases=["www.whole.test"], runtime={"settings": {"memory_limit": "96M"}})
    write(platform, site, "who.php", PAGE)
    status, page = platform.visit("whole.test", "/who.php")
    uid, memory, folder = page.split(" ")
    assert (status, memory) == (200, "96M")
    if os.geteuid() == 0:
        assert int(uid) >= platform.uid_first
    assert folder == str(platform.state / "sites" / site["name"] / "home" / "public")
    assert platform.visit("www.whole.test", "/who.php")[1] == page
    assert platform.api("DELETE", f"/sites/{site['id']}").status_code == 202
    platform.gone(site["id"])
    assert platform.visit("whole.test") == (0, "")
    assert platform.traces_of(site) == []


def test_a_suspended_site_answers_503_and_loses_nothing(platform: RunningPlatform) -> None:
    site = platform.online("paused.test")
    write(platform, site, "keep.txt", "kept")
    platform.api("POST", f"/sites/{site['id']}/suspend")
    platform.settled(site["id"], "ready")
    assert [platform.visit("paused.test", path)[0] for path in ("/", "/keep.txt", "/x.php")] == [503] * 3
    platform.api("POST", f"/sites/{site['id']}/resume")
    platform.settled(site["id"], "ready")
    assert platform.visit("paused.test", "/keep.txt") == (200, "kept")


def test_a_changed_document_root_keeps_what_lay_in_the_old_one(platform: RunningPlatform) -> None:
    site = platform.online("moved.test")
    write(platform, site, "mine.txt", "mine")
    platform.api("PATCH", f"/sites/{site['id']}", {"document_root": "web", "aliases": ["also.moved.test"]})
    platform.settled(site["id"], "ready")
    assert platform.visit("moved.test", "/mine.txt")[0] == 404
    assert platform.visit("also.moved.test")[0] == 200
    assert (platform.state / "sites" / site["name"] / "home" / "public" / "mine.txt").read_text() == "mine"
    platform.api("PATCH", f"/sites/{site['id']}", {"document_root": "public", "aliases": []})
    platform.settled(site["id"], "ready")
    assert platform.visit("moved.test", "/mine.txt") == (200, "mine")
    assert platform.visit("also.moved.test") == (0, "")


def test_unknown_names_are_never_answered_by_a_site(platform: RunningPlatform) -> None:
    platform.online("known.test")
    for host in ("unknown.test", "127.0.0.1", "localhost", "sub.known.test"):
        assert platform.visit(host) == (0, "")


def test_adding_a_site_reloads_nothing(platform: RunningPlatform) -> None:
    def workers() -> set[int]:
        master = (
            int((platform.state / "run" / "nginx.pid").read_text())
            if (platform.state / "run" / "nginx.pid").exists()
            else 0
        )
        children = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                if b"nginx: worker" in (folder / "cmdline").read_bytes() and (not master or int(fields[1]) == master):
                    children.add(int(folder.name))
            except OSError:
                continue
        return children

    before = workers()
    assert before
    platform.online("noreload.test")
    assert before <= workers()


def test_the_plan_is_empty_after_an_apply_and_shows_what_was_edited_by_hand(platform: RunningPlatform) -> None:
    site = platform.online("planned.test")
    assert platform.planned_changes(site["id"]) == []
    configuration = platform.state / "sites" / site["name"] / "php-fpm.conf"
    before = configuration.read_text()
    configuration.write_text(before + "; edited by hand\n")
    changes = platform.planned_changes(site["id"])
    assert [(change["action"], change["is_drift"]) for change in changes] == [("update", True)]
    assert "edited by hand" in changes[0]["diff"]
    assert "edited by hand" in platform.command("plan", "planned.test", status=2)
    assert configuration.read_text().endswith("edited by hand\n")
    repaired = platform.api("POST", f"/sites/{site['id']}/repair").headers["location"].removeprefix("/api/v1")
    until("the repair", lambda: platform.get(repaired)["state"] == "done" or None)
    assert configuration.read_text() == before
    assert platform.settled(site["id"])["phase"] == "ready"
    assert "Nothing would change" in platform.command("plan", "planned.test")


def test_a_restart_gives_the_site_a_new_master_and_loses_no_request(platform: RunningPlatform) -> None:
    site = platform.online("again.test")
    write(platform, site, "parent.php", "<?php echo posix_getppid();")
    old = platform.visit("again.test", "/parent.php")[1]
    with Visitors(platform, "again.test", "/parent.php") as visitors:
        answer = platform.api("POST", f"/sites/{site['id']}/restart")
        assert answer.status_code == 202
        operation = answer.json()["id"]
        until("the restart", lambda: platform.get(f"/operations/{operation}")["state"] == "done" or None)
    assert platform.visit("again.test", "/parent.php")[1] != old
    assert visitors.failures == []


def test_the_event_stream_tells_how_a_site_comes_online(platform: RunningPlatform) -> None:
    seen: list[str] = []
    with httpx.stream(
        "GET",
        f"http://127.0.0.1:{platform.port}/api/v1/events",
        timeout=20,
        headers={"Authorization": f"Bearer {platform.token}"},
    ) as stream:
        site = platform.declare("watched.test")
        for line in stream.iter_lines():
            if line.startswith("data:") and site["id"] in line:
                seen.append(line)
                if '"ready"' in line:
                    break
    phases = [phase for phase in ("pending", "applying", "ready") if any(f'"phase":"{phase}"' in line for line in seen)]
    assert phases == ["pending", "applying", "ready"]


def test_the_command_line_makes_and_deletes_a_site(platform: RunningPlatform) -> None:
    assert "is ready" in platform.command("sites", "create", "cli.test", "--account", "Customer")
    assert "cli.test" in platform.command("sites", "list")
    assert platform.visit("cli.test")[0] == 200
    assert "is taken" in platform_error(platform, "sites", "create", "cli.test", "--account", "Customer")
    assert "Nothing of the site is left" in platform.command("sites", "delete", "cli.test")


def platform_error(platform: RunningPlatform, *arguments: str) -> str:
    """What a command that fails writes to standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "hosthold.cli", *arguments],
        env=platform.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    return done.stderr


def test_the_doctor_finds_nothing_wrong_on_a_running_platform(platform: RunningPlatform) -> None:

    done = subprocess.run(
        [sys.executable, "-m", "hosthold.cli", "doctor", "--json"],
        env=platform.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    findings = {finding["part"]: finding for finding in json.loads(done.stdout)}
    for part in (
        "settings",
        "keys",
        "database",
        "disk state",
        "disk sites",
        "node",
        "web",
        "node process",
        "driver:webserver nginx".replace(":", " "),
    ):
        assert findings[part]["is_well"], findings[part]


class Visitors:
    """Visits a page again and again from two threads while the block runs; `failures` are all answers but 200."""

    def __init__(self, platform: RunningPlatform, host: str, path: str = "/") -> None:
        self.failures: list[int] = []
        self.count = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(platform, host, path)) for _ in range(2)]

    def _visit(self, platform: RunningPlatform, host: str, path: str) -> None:
        while not self._stop.is_set():
            status, _ = platform.visit(host, path)
            self.count += 1
            if status != 200:
                self.failures.append(status)

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self.count > 0
