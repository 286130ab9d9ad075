"""Two sites on one node, both awake: what the PHP of one sees of the other."""

from __future__ import annotations

import subprocess

import pytest

from tests.security.conftest import AS_PAGE_AND_AS_PROGRAM, CANARY, Company, Tenant

SECRETS = ("secret.php", "secret.txt", "open.php", "open.txt", "warm.php")


def _targets(b: Tenant) -> list[str]:
    folders = [b.folder, b.home, b.public, b.home / "sessions", b.home / "tmp", b.folder / "logs", b.folder / "serve"]
    files = [*(b.public / name for name in SECRETS), b.folder / "php-fpm.conf", b.folder / "logs" / "php-error.log"]
    return [str(path) for path in (*folders, *files, *(b.home / "sessions").iterdir())]


@AS_PAGE_AND_AS_PROGRAM
def test_s19_s20_nothing_of_a_neighbours_files_is_read_listed_or_changed(company: Company, *, as_program: bool) -> None:
    a, b = company.a, company.b
    assert b.ask("/warm.php") == (200, CANARY)

    assert a.attack("look", as_program=as_program, paths=_targets(b)) == {}
    its_own = b.attack("look", as_program=as_program, paths=[str(b.public / "secret.txt")], ways=["read", "shell"])
    assert its_own == {str(b.public / "secret.txt"): {"read": CANARY, "shell": CANARY}}, "the probe does find something"


LINKS = ("secret.php", "secret.txt", "open.php", "open.txt")


def test_s19_nginx_follows_no_link_to_a_neighbour(company: Company) -> None:
    a, b = company.a, company.b
    targets = {
        **{name: f"{b.public}/{name}" for name in LINKS},
        "folder": f"{b.public}",
        "home": f"{b.home}",
        "climb": f"../../../{b.name}/home/public",
        "serve": f"{b.folder}/serve/root",
        "through-hosts": f"{company.platform.state}/hosts/{b.domain}/root",
        "state": f"{company.platform.state}",
        "etc": "/etc",
        "proc": "/proc/self/root/etc",
        "passwd": "/etc/passwd",
        "configuration": f"{company.platform.state}/nginx/nginx.conf",
        "own": str(a.put("own.txt", "mine")),
    }
    a.attack("plant", as_program=True, links={str(a.public / "links" / name): to for name, to in targets.items()})

    assert a.ask("/links/own") == (200, "mine"), "a link to a file of one's own is followed"
    for name in targets.keys() - {"own"}:
        for rest in ("", "/", *(f"/{name}" for name in (*LINKS, "passwd", "hostname", "nginx/nginx.conf"))):
            status, page = a.ask(f"/links/{name}{rest}")
            assert status in (403, 404), (name, rest)
            assert CANARY not in page


@AS_PAGE_AND_AS_PROGRAM
def test_s20_nothing_of_a_neighbours_memory_is_seen(company: Company, *, as_program: bool) -> None:
    a, b = company.a, company.b
    assert b.ask("/warm.php") == (200, CANARY)
    pids = b.processes()
    assert pids

    found = a.attack(
        "memory", as_program=as_program, pids=pids, name="a", scripts=[str(b.public / name) for name in SECRETS]
    )
    assert found.pop("user") == a.uid
    assert found.pop("groups") in ({}, {"0": a.uid})
    places = found.pop("places")
    assert found == {}
    if not as_program:
        assert all(place.startswith(f"{a.home}/") for place in places.values()), places
    own = a.attack("memory", as_program=as_program, pids=[a.processes()[0]], name="a")
    assert own["proc"], "the probe sees what is its own"


def _has_rooms_of_memory() -> bool:
    return subprocess.run(("/usr/bin/unshare", "--ipc", "/bin/true"), capture_output=True, check=False).returncode == 0


@AS_PAGE_AND_AS_PROGRAM
@pytest.mark.parametrize("mode", [0o600, pytest.param(0o666, id="the mode that PHP chooses")])
def test_s20_shared_memory_that_a_neighbours_page_left_stays_closed(
    company: Company, mode: int, *, as_program: bool
) -> None:
    if mode & 0o066 and not _has_rooms_of_memory():
        pytest.skip("needs a kernel that lets root make namespaces of IPC")
    a, b = company.a, company.b
    key = 0x5E000000 + b.uid
    b.put("share.php", f"<?php shmop_write(shmop_open({key}, 'c', {mode}, {len(CANARY)}), '{CANARY}', 0); echo 'left';")
    b.put("unshare.php", f"<?php echo json_encode(shmop_delete(shmop_open({key}, 'w', 0, 0)));")
    assert b.ask("/share.php") == (200, "left")
    try:
        seen = {
            tenant.name: tenant.attack("memory", as_program=as_program, pids=[], keys=[key]).get("shared memory")
            for tenant in (a, b)
        }
    finally:
        assert b.ask("/unshare.php") == (200, "true")
    assert seen == {a.name: None, b.name: {"0": CANARY}}
