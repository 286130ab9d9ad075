"""What a tenant reaches of the platform: its stores, its sockets, its ports."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.security.conftest import AS_PAGE_AND_AS_PROGRAM, Company, Tenant


def _paths(company: Company) -> list[str]:
    """Every path of the platform, as its administrator sees them."""
    return [str(path) for path in company.platform.folder.rglob("*")]


def _swept(tenant: Tenant, paths: list[str], *, as_program: bool) -> dict[str, set[str]]:
    found = tenant.attack("sweep", as_program=as_program, paths=paths)
    return {way: set(reached.values()) for way, reached in found.items()}


def _is_own(tenant: Tenant, path: str) -> bool:
    return Path(path).is_relative_to(tenant.home) or path == f"{tenant.folder}/serve/root"


@AS_PAGE_AND_AS_PROGRAM
def test_s06_s14_a_tenant_who_knows_every_path_reads_no_secret_and_writes_nothing(
    company: Company, *, as_program: bool
) -> None:
    a, platform = company.a, company.platform
    paths = _paths(company)
    assert {Path(path).suffix for path in paths if "/queue/" in path} >= {".db", ".wake"}
    found = _swept(a, paths, as_program=as_program)

    assert str(a.public / "index.php") in found["writable"] & found["readable"]
    its_log = f"{a.folder}/logs/php-error.log"
    assert {path for path in found["writable"] if not _is_own(a, path)} <= {its_log}
    for_everybody = {
        f"{platform.state}/nginx/nginx.conf",
        f"{platform.state}/nginx/pages/suspended.html",
        f"{platform.state}/nginx/pages/missing.html",
        f"{platform.state}/run/nginx.pid",
        f"{platform.accounts_directory}/passwd",
        f"{platform.accounts_directory}/group",
        # what the test itself keeps beside the platform
        *(f"{platform.folder}/{name}" for name in ("hosthold.toml", "node.log", "worker.log", "web.log")),
    }
    its_own = {f"{a.folder}/php-fpm.conf", *map(str, (a.folder / "logs").iterdir())}
    assert {path for path in found["readable"] if not _is_own(a, path)} <= for_everybody | its_own
    listable = {path for path in found["listable"] if not _is_own(a, path)}
    assert f"{platform.state}/sites" not in listable, "who is hosted here is nobody's business"
    assert not any(str(company.b.folder) in path for path in listable)


def _of_the_platform(company: Company) -> set[int]:
    """Every process of the platform: its own, and its services."""
    folder = str(company.platform.folder).encode()
    started = {process.pid for process in company.platform.processes.values()}
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if folder in (entry / "cmdline").read_bytes() or int(entry.name) in started or parent in started | found:
                found.add(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _ports(pids: set[int]) -> set[int]:
    """The TCP ports at which these processes listen."""
    inodes: set[str] = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
            except FileNotFoundError:
                continue
    rows = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes}


@AS_PAGE_AND_AS_PROGRAM
def test_s07_a_tenant_reaches_no_socket_and_only_the_two_open_ports(company: Company, *, as_program: bool) -> None:
    a, platform = company.a, company.platform
    sockets = [str(path) for path in platform.folder.rglob("*") if path.is_socket()]
    assert {f"{platform.state}/run/keeper.sock", a.socket, company.b.socket} <= set(sockets)
    ports = _ports(_of_the_platform(company))

    assert ports == {platform.port, platform.site_port}
    reached = a.attack("connect", as_program=as_program, sockets=sockets, ports=sorted(ports))
    assert set(reached) == {str(port) for port in ports}, "the panel and the visitors' port are open to everybody"


def test_s07_the_probe_finds_a_socket_that_is_open(company: Company) -> None:
    """What the attack says of sockets counts: it reaches one that is the tenant's own."""
    a = company.a
    own = a.home / "tmp" / "own.sock"
    code = (
        f"<?php $server = stream_socket_server('unix://{own}');"
        f"echo json_encode((bool) stream_socket_client('unix://{own}'));"
    )
    a.put("listen.php", code)
    assert a.ask("/listen.php") == (200, "true")


@AS_PAGE_AND_AS_PROGRAM
def test_s07_s20_php_fpm_of_another_site_runs_nothing_for_a_tenant(company: Company, *, as_program: bool) -> None:
    a, b = company.a, company.b
    for socket in (b.socket, f"{b.folder}/serve/upstream", a.socket):
        for script in (b.public / "secret.php", a.public / "attack" / "given.php"):
            said = a.attack("fastcgi", as_program=as_program, socket=socket, script=str(script))
            assert said == {"why": "Permission denied"}


@pytest.mark.parametrize("headers", ["", "Host: localhost\r\n", "X-Real-User: root\r\n"], ids=["plain", "host", "user"])
def test_s07_s47_a_tenants_program_is_nobody_to_the_panel(company: Company, headers: str) -> None:
    a, platform = company.a, company.platform

    def asked(path: str) -> tuple[int, str]:
        answer = a.attack("fetch", url=f"http://127.0.0.1:{platform.port}{path}", headers=headers)
        return int(answer["headers"]["0"].split()[1]), answer["page"]

    assert json.loads(asked("/health/ready")[1]) == {"status": "ready"}
    assert asked("/metrics")[0] == 404
    assert asked("/api/v1/sites")[0] == 401
    assert asked("/api/v1/events")[0] == 401


def test_s47_the_administrators_program_sees_what_a_tenants_does_not(company: Company) -> None:
    url = f"http://127.0.0.1:{company.platform.port}"
    assert "hosthold_sites" in httpx.get(f"{url}/metrics").text
    assert httpx.get(f"{url}/health/ready").json()["parts"]
