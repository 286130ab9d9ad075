"""What must hold after any fault: declared, on disk and running are one, nobody else noticed, all can start afresh."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import signal
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.conftest import RunningPlatform, free_port, until

WHO = "<?php echo posix_geteuid(), ' ', $_SERVER['HTTP_HOST'];"
"""A page that tells as whom it runs."""


def add_page(platform: RunningPlatform, site: Mapping[str, Any]) -> None:
    """Give a site the page by which it is known later."""
    home = platform.state / "sites" / str(site["name"]) / "home"
    page = home / str(site["document_root"]) / "who.php"
    page.write_text(WHO)
    os.chown(page, home.stat().st_uid, home.stat().st_uid)


def fingerprint(platform: RunningPlatform, sites: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What each site has on disk: names, owners, modes and contents, save logs and what PHP keeps while it runs."""
    found = {}
    for site in sites:
        digest = hashlib.sha256()
        folder = platform.state / "sites" / str(site["name"])
        for path in sorted(folder.rglob("*")):
            status = path.lstat()
            inside = path.relative_to(folder).parts
            if inside[0] == "logs" or "tmp" in inside or "sessions" in inside:
                continue
            digest.update(f"{path} {status.st_mode} {status.st_uid}:{status.st_gid}".encode())
            if path.is_symlink():
                digest.update(str(path.readlink()).encode())
            elif path.is_file():
                digest.update(path.read_bytes())
        found[str(site["id"])] = digest.hexdigest()
    return found


def check_invariants(
    platform: RunningPlatform,
    ready: Iterable[Mapping[str, Any]],
    gone: Iterable[Mapping[str, Any]] = (),
    before: Mapping[str, str] | None = None,
) -> None:
    """Assert what the list of faults ends with.

    `ready` are the sites that must be served, each with the page of `add_page`; `gone` are those of which nothing may
    be left. `before` is the fingerprint of sites that the fault did not concern.
    """
    served = [platform.settled(str(site["id"]), "ready", seconds=90) for site in ready]
    for site in gone:
        platform.gone(str(site["id"]), seconds=90)
    for site in served:
        assert site["conditions"] == []
        assert platform.planned_changes(site["id"]) == [], "declared and present differ"
        _assert_served(platform, site, platform.site_port)
    for site in gone:
        assert platform.traces_of(dict(site)) == []
        assert platform.visit(str(site["domain"]))[0] == 0
    if before is not None:
        now = fingerprint(platform, [site for site in served if site["id"] in before])
        assert now == {key: value for key, value in before.items() if key in now}, "another site was changed"
    _assert_nothing_is_half_done(platform)
    _assert_cold_start(platform, served)


def _assert_served(platform: RunningPlatform, site: Mapping[str, Any], port: int) -> None:
    status, page = _visit(port, str(site["domain"]), "/who.php")
    home = platform.state / "sites" / str(site["name"]) / "home"
    assert (status, page.split(" ")[0]) == (200, str(home.stat().st_uid)), site["domain"]


def _visit(port: int, host: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def _assert_nothing_is_half_done(platform: RunningPlatform) -> None:
    """No temporary file, nothing in the trash, no open journal; each operation is done or somebody's."""
    left = [str(path) for path in platform.state.rglob("*") if path.name.endswith((".hosthold", ".tmp"))]
    trash = platform.state / "trash"
    assert left + [str(path) for path in trash.glob("*")] == []
    with sqlite3.connect(f"file:{platform.state}/node.db?mode=ro", uri=True) as node:
        tables = {name for (name,) in node.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert "journal" in tables
        assert node.execute("SELECT count(*) FROM journal WHERE NOT is_committed").fetchone() == (0,)
    operations = platform.get("/operations")["items"] if platform.api("GET", "/operations").status_code == 200 else []
    assert {each["state"] for each in operations} <= {"done", "failed", "pending", "running"}


def _assert_cold_start(platform: RunningPlatform, sites: Iterable[Mapping[str, Any]]) -> None:
    """R-09: another nginx and every PHP start from what is on disk now, and answer."""
    original = (platform.state / "nginx" / "nginx.conf").read_text()
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="hosthold-cold-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        changed = original.replace(f":{platform.site_port}", f":{port}")
        changed = re.sub(r"(?m)^pid .*;$", f"pid {folder}/pid;", changed)
        changed = re.sub(r"(?m)^include [^\n]*blocks[^\n]*$", "", changed)
        (folder / "nginx.conf").write_text(changed)
        command = ("/usr/sbin/nginx", "-c", f"{folder}/nginx.conf")
        tested = subprocess.run((*command, "-t"), capture_output=True, text=True, check=False)
        assert tested.returncode == 0, tested.stderr
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as nginx:
            try:
                until("the second web server", lambda: _listens(port) or None)
                for site in sites:
                    _assert_served(platform, site, port)
            finally:
                nginx.send_signal(signal.SIGTERM)
    for site in sites:
        for configuration in (platform.state / "sites" / str(site["name"])).glob("*.conf"):
            version = site["runtime"]["version"]
            home = (platform.state / "sites" / str(site["name"]) / "home").stat()
            checked = subprocess.run(
                (f"/usr/sbin/php-fpm{version}", "-t", "-y", str(configuration)),
                user=home.st_uid,
                group=home.st_uid,
                extra_groups=(),
                capture_output=True,
                check=False,
            )
            assert checked.returncode == 0, checked.stderr


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
