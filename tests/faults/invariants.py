"""What must hold after any fault: declared, on disk and running are one, nobody else noticed, all can start afresh."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from hosthold.types.resource import Service
from hosthold_php_fpm.configuration import PING_PATH
from sqlalchemy import create_engine, select, text

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
    _assert_secrets_are_in_no_log(platform)
    _assert_cold_start(platform, served)


def _assert_served(platform: RunningPlatform, site: Mapping[str, Any], port: int) -> None:
    """A web server that was killed last of all may be about to come back."""
    home = platform.state / "sites" / str(site["name"]) / "home"
    expected = 200, f"{home.stat().st_uid} {site['domain']}"
    until(f"{site['domain']} as {expected}", lambda: _visit(port, str(site["domain"]), "/who.php") == expected or None)


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


def _half_done(platform: RunningPlatform) -> list[str]:
    """Temporary files, what lies in the trash, open journals."""
    left = [str(path) for path in platform.state.rglob("*") if path.name.endswith((".hosthold", ".tmp"))]
    left += [str(path) for root in (platform.state, platform.state / "run") for path in (root / "trash").glob("*")]
    with closing(sqlite3.connect(f"file:{platform.state}/node.db?mode=ro", uri=True)) as node:
        return left + [name for (name,) in node.execute("SELECT id FROM journal WHERE NOT is_committed")]


def _assert_nothing_is_half_done(platform: RunningPlatform) -> None:
    """Nothing stays half done, though a broken site may just be tried again; all work is done, somebody's, or due."""
    until("nothing to be half done", lambda: _half_done(platform) == [] or None)
    engine = create_engine(platform.database_url)
    with engine.connect() as database:
        for table in ("operation", "delivery"):
            rows = database.execute(select("*").select_from(text(table))).mappings()
            unfinished = [row for row in rows if row["state"] in ("pending", "running")]
            assert [row for row in unfinished if row["due_at"] is None and not row["lease_until"]] == []
        assert database.exec_driver_sql("SELECT name FROM site GROUP BY name HAVING count(*) > 1").all() == []
    engine.dispose()


def _assert_secrets_are_in_no_log(platform: RunningPlatform) -> None:
    logs = b"".join(path.read_bytes() for path in platform.folder.glob("*.log"))
    keys = (path.read_bytes() for path in (platform.folder / "state" / "keys").glob("*"))
    assert platform.token.encode() not in logs
    assert not [key for line in keys for key in line.split() if len(key) > 20 and key in logs]


def _assert_cold_start(platform: RunningPlatform, sites: Iterable[Mapping[str, Any]]) -> None:
    """R-09: another nginx and the PHP of each of the sites start from what is on disk now, and answer."""
    port, tls_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="hosthold-cold-") as name:
        folder = Path(name)
        folder.chmod(0o755)

        def elsewhere(text: str) -> str:
            text = text.replace(f":{platform.site_port}", f":{port}").replace(
                f":{platform.site_port + 1}", f":{tls_port}"
            )
            text = text.replace(f"include {platform.state}/blocks/", f"include {folder}/blocks/")
            return re.sub(r"(?m)^pid .*;$", f"pid {folder}/pid;", text)

        (folder / "blocks").mkdir()
        for block in (platform.state / "blocks").glob("*.conf"):
            (folder / "blocks" / block.name).write_text(elsewhere(block.read_text()))
        (folder / "nginx.conf").write_text(elsewhere((platform.state / "nginx" / "nginx.conf").read_text()))
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
        for service in _php_services(platform, {f"php-{site['name']}" for site in sites}):
            _assert_starts(service, folder)


def _php_services(platform: RunningPlatform, names: set[str]) -> list[Service]:
    with closing(sqlite3.connect(f"file:{platform.state}/node.db?mode=ro", uri=True)) as node:
        rows = node.execute("SELECT body FROM resources WHERE key LIKE 'service:php-%'").fetchall()
    services = [Service.model_validate_json(body) for (body,) in rows]
    return [service for service in services if service.name in names]


def _assert_starts(service: Service, folder: Path) -> None:
    """Whether the program of a service starts anew, on a socket of its own, and answers."""
    with socket.socket(socket.AF_UNIX) as listener:
        path = str(folder / f"{service.name}.sock")
        listener.bind(path)
        listener.listen()
        ((variable, value),) = service.environment
        with subprocess.Popen(
            service.command,
            env={variable: value.replace("=3", f"={listener.fileno()}"), "PATH": "/usr/bin:/bin"},
            pass_fds=(listener.fileno(),),
            user=service.owner.uid,
            group=service.owner.gid,
            extra_groups=(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as program:
            try:
                assert b"pong" in _ping(path), service.name
            finally:
                program.send_signal(signal.SIGQUIT)


def _ping(path: str) -> bytes:
    """What a FastCGI program answers to a ping; nothing, if it does not within some seconds."""
    parameters = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": PING_PATH, "SCRIPT_FILENAME": PING_PATH}
    body = b"".join(bytes((len(key), len(value))) + key.encode() + value.encode() for key, value in parameters.items())
    records = ((1, struct.pack("!HB5x", 1, 0)), (4, body), (4, b""), (5, b""))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        for kind, content in records:
            connection.sendall(struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content)
        answer = b""
        with suppress(TimeoutError):
            while part := connection.recv(4096):
                answer += part
        return answer


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
