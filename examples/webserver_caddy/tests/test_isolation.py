"""What a hostile tenant can make Caddy do on a machine with a Unix user per site: nothing to the neighbour."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from hosthold_sdk import Service, Site
from hosthold_sdk.testing.machine import Machine

CANARY = "canary-of-b"


@pytest.fixture
def neighbours(machine: Machine) -> tuple[Site, Site]:
    """Two sites, both awake; the second has secrets, which Caddy may read."""
    a, b = machine.site("a.example"), machine.site("b.example")
    machine.apply(a, b)
    machine.write(b, "secret.php", f"<?php return '{CANARY}';")
    machine.write(b, "secret.txt", CANARY)
    assert machine.get("b.example", "/secret.txt").text == CANARY
    assert machine.get("b.example", "/secret.php").status == 200
    return a, b


def _link(machine: Machine, site: Site, path: Path, target: object) -> None:
    path.symlink_to(str(target))
    owner = machine.node.owner_of(site.uid)
    os.chown(path, owner.uid, owner.gid, follow_symlinks=False)


def test_s10_s19_no_link_of_a_site_is_followed(machine: Machine, neighbours: tuple[Site, Site]) -> None:
    a, b = neighbours
    root = machine.public(a)
    (root / "index.php").unlink(missing_ok=True)
    state = machine.node.layout.state
    for name, target in {
        "file.txt": machine.public(b, "secret.txt"), "source.txt": machine.public(b, "secret.php"),
        "folder": machine.public(b), "passwd": "/etc/passwd", "etc": "/etc", "proc": "/proc/self",
        "up": f"../../../{b.name}",
        "log.txt": f"{state}/caddy/logs/access.log", "by-host": f"{state}/hosts/b.example",
        "config.txt": machine.node.layout.site(b.name).child("php-fpm.conf"),
    }.items():  # fmt: skip
        _link(machine, a, root / name, target)
    for path in (
        "/file.txt", "/source.txt", "/folder/secret.txt", "/folder/", "/folder/secret.php", "/passwd", "/etc/passwd",
        "/proc/root/etc/passwd", "/proc/environ", "/up/home/public/secret.txt", "/log.txt", "/by-host/secret.txt",
        "/config.txt",
    ):  # fmt: skip
        answer = machine.get("a.example", path)
        assert answer.status == 404, path
    assert machine.get("a.example", "/.well-known/hosthold-route").status == 204


@pytest.mark.parametrize("target", ["neighbour", "/etc", "/", "/proc/self/root"])
def test_s10_a_document_root_that_became_a_link_is_not_served(
    machine: Machine, neighbours: tuple[Site, Site], target: str
) -> None:
    a, b = neighbours
    root = machine.public(a)
    aside = root.with_name("aside")
    root.rename(aside)
    try:
        _link(machine, a, root, machine.public(b) if target == "neighbour" else target)
        for path in ("/secret.txt", "/passwd", "/etc/passwd", "/", "/secret.php"):
            answer = machine.get("a.example", path)
            assert (answer.status, CANARY in answer.text, "root:" in answer.text) == (404, False, False), path
    finally:
        root.unlink()
        aside.rename(root)


def test_s07_a_proxy_reaches_no_socket_through_a_link(machine: Machine, neighbours: tuple[Site, Site]) -> None:
    a, b = neighbours
    home = Path(machine.node.layout.home(a.name))
    machine.apply(a.model_validate(a.model_dump() | {"web": {"proxies": ({"path": "/app", "socket": "app.sock"},)}}))
    for target in (machine.node.layout.socket(b.name), machine.node.layout.run.child("caddy", "admin.sock")):
        _link(machine, a, home / "app.sock", target)
        assert machine.get("a.example", "/app/config/").status == 502
        (home / "app.sock").unlink()
    machine.apply(a)


def test_s07_no_site_reaches_caddys_own_socket_and_files(machine: Machine, neighbours: tuple[Site, Site]) -> None:
    a, _ = neighbours
    run, state = machine.node.layout.run.child("caddy"), machine.node.layout.state
    code = f"""<?php
    @fsockopen('unix://{run}/admin.sock', 0, $code, $why); echo $why, '|';
    foreach (['{run}', '{state}/caddy/logs', '{state}/blocks', '{state}/hosts'] as $path) {{
        echo trim(shell_exec("ls $path 2>&1 >/dev/null")) === '' ? "open $path" : 'closed', '|';
    }}"""
    machine.write(a, "look.php", code)
    assert machine.get("a.example", "/look.php").text == "Permission denied|closed|closed|closed|closed|"
    admin = Path(run, "admin.sock").stat()
    assert (admin.st_uid, stat.S_IMODE(Path(run).stat().st_mode)) == (machine.node.web.uid, 0o700)


def test_caddy_runs_with_one_right_of_roots(machine: Machine) -> None:
    service: Service = machine.webserver.service(machine.node)
    (entry,) = [
        entry for entry in Path("/proc").iterdir()
        if _read(entry / "comm") == "caddy\n" and str(machine.folder) in _read(entry / "cmdline")
    ]  # fmt: skip
    status = dict(line.split(":\t", 1) for line in _read(entry / "status").splitlines())
    assert status["Uid"].split() == ["33"] * 4
    assert status["Groups"].strip() == ""
    assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {f"{1 << 10:016x}"}
    assert status["NoNewPrivs"] == "1"
    listening = [line for line in _read(entry / "net" / "tcp").splitlines() if f":{2019:04X} " in line.split()[1] + " "]
    assert not listening, "the control port that Caddy opens by itself"
    assert service.owner.uid == 0


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def test_nothing_is_written_outside_of_the_nodes_folders(machine: Machine) -> None:
    for name in (".local/share/caddy", ".config/caddy", ".step"):
        for home in ("/root", "/var/www", "/var/lib/caddy"):
            assert not Path(home, name).exists() or Path(home, name).stat().st_mtime < machine.folder.stat().st_ctime


def test_a_machine_that_cannot_close_links_off_is_told_and_serves_nothing(machine: Machine) -> None:
    launcher = machine.node.layout.state.child("caddy", "launcher.py")
    command = ("/usr/bin/python3", "-I", "-S", launcher, machine.node.layout.sites, "/bin/echo", "served")
    said = subprocess.run(
        ("/usr/bin/setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all", *command), capture_output=True
    )
    assert (said.returncode, said.stdout) == (1, b"")
    assert b"cannot be closed off" in said.stderr
