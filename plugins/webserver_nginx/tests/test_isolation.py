"""What a hostile tenant can do on a machine with a Unix user per site: nothing to the neighbour."""

from __future__ import annotations

from pathlib import Path

import pytest
from hosthold_sdk import Site

from .conftest import Machine

SECRET = "<?php return 'canary-of-b';"


@pytest.fixture
def neighbours(machine: Machine) -> tuple[Site, Site]:
    """Two sites, both warmed; the second has secrets."""
    a = machine.serve(machine.site(1, "a.example"))
    b = machine.serve(machine.site(2, "b.example"))
    machine.write(b, "secret.php", SECRET, 0o600)
    machine.write(b, "secret.txt", "canary-of-b")
    machine.write(b, "private.txt", "canary-of-b", 0o600)
    for host in ("a.example", "b.example"):
        assert machine.get(host).status == 200
    assert machine.get("b.example", "/secret.php").status == 200
    assert machine.get("b.example", "/secret.txt").text == "canary-of-b"
    return a, b


def test_s19_links_to_others_files_are_not_followed(machine: Machine, neighbours: tuple[Site, Site]) -> None:
    a, b = neighbours
    machine.public(a, "index.php").unlink(missing_ok=True)
    machine.link(a, machine.public(a, "file.txt"), machine.public(b, "secret.txt"))
    machine.link(a, machine.public(a, "folder"), machine.public(b))
    machine.link(a, machine.public(a, "passwd"), "/etc/passwd")
    machine.link(a, machine.public(a, "config.txt"), machine.node.layout.site(b.name).child("php-fpm.conf"))
    machine.link(a, machine.public(a, "proc"), "/proc/self/root/etc")
    machine.write(a, "own.txt", "mine")
    machine.link(a, machine.public(a, "own-link.txt"), machine.public(a, "own.txt"))

    for path in (
        "/file.txt",
        "/folder/secret.txt",
        "/folder/",
        "/folder/secret.php",
        "/passwd",
        "/config.txt",
        "/proc/hostname",
    ):
        answer = machine.get("a.example", path)
        assert (answer.status in (403, 404), "canary" in answer.text) == (True, False), path
    assert machine.get("a.example", "/own-link.txt").text == "mine"


def test_s10_a_document_root_that_became_a_link_is_not_served(machine: Machine, neighbours: tuple[Site, Site]) -> None:
    a, b = neighbours
    root = machine.public(a)
    aside = root.with_name("aside")
    root.rename(aside)
    try:
        for target in (machine.public(b), Path("/etc"), Path("/")):
            machine.link(a, root, target)
            for path in ("/secret.txt", "/passwd", "/etc/passwd", "/"):
                answer = machine.get("a.example", path)
                assert (answer.status in (403, 404), "canary" in answer.text) == (True, False), (target, path)
            root.unlink()
    finally:
        aside.rename(root)


def test_s20_php_reads_nothing_of_a_neighbour(machine: Machine, neighbours: tuple[Site, Site]) -> None:
    a, b = neighbours
    for path in (machine.public(b, "secret.php"), machine.public(b, "private.txt"), machine.public(b, "secret.txt")):
        for act in ("file_get_contents({})", "include {}", "readlink({})", "scandir(dirname({}))", "copy({}, 'x')"):
            said = machine.php_says(a, f"echo json_encode(@({act.format(repr(str(path)))}));")
            assert (said, "canary" in said) == ("false", False), (act, path)
        assert "canary" not in machine.php_says(a, f"echo shell_exec('cat {path} 2>&1');"), "even without open_basedir"


def test_s20_php_reaches_neither_the_sockets_nor_the_processes_of_a_neighbour(
    machine: Machine, neighbours: tuple[Site, Site]
) -> None:
    a, b = neighbours
    process = machine.processes["php-s2"].pid
    for socket in (machine.node.layout.socket(b.name), machine.node.layout.hosts.child("b.example", "upstream")):
        said = machine.php_says(a, f"@fsockopen('unix://{socket}', 0, $code, $why); echo $why;")
        assert said == "Permission denied"
    for path in (f"/proc/{process}/environ", f"/proc/{process}/cwd/", f"/proc/{process}/maps"):
        assert machine.php_says(a, f"echo json_encode(@file_get_contents('{path}'));") == "false"
        assert (
            "denied"
            in machine.php_says(
                a, f"echo shell_exec('ls {path} >/dev/null && cat {path} 2>&1 | head -c 99 2>&1; cat {path} 2>&1');"
            ).lower()
        )


def test_s20_opcache_and_temporary_folders_are_the_sites_own(machine: Machine, neighbours: tuple[Site, Site]) -> None:
    a, _ = neighbours
    assert machine.php_says(a, "echo json_encode([@opcache_get_status(), @opcache_reset()]);") == "[false,false]"
    home = machine.node.layout.home(a.name)
    code = "session_start(); echo sys_get_temp_dir(), ' ', session_save_path(), ' ', ini_get('upload_tmp_dir');"
    assert machine.php_says(a, code) == f"{home}/tmp {home}/sessions {home}/tmp"
    assert machine.php_says(a, "echo json_encode(@file_get_contents('/etc/passwd'));") == "false"
    assert machine.php_says(a, "echo json_encode(@scandir('/'));") == "false"
    assert machine.php_says(a, "echo json_encode(ini_set('open_basedir', '/'));") == "false"
    code = "try { FFI::cdef('int getpid(void);'); } catch (Throwable $e) { echo get_class($e); }"
    assert machine.php_says(a, code) == "FFI\\Exception"


def test_a_script_that_only_its_owner_may_read_runs(machine: Machine, neighbours: tuple[Site, Site]) -> None:
    a, _ = neighbours
    machine.write(a, "own/index.php", "<?php echo 'ran';", 0o600)

    assert [machine.get("a.example", path).text for path in ("/own/", "/own/index.php")] == ["ran", "ran"]
    assert machine.get("a.example", "/own").headers["Location"] == "/own/"


def test_s07_a_tenant_cannot_enter_the_home_of_another(machine: Machine, neighbours: tuple[Site, Site]) -> None:
    a, b = neighbours
    for path in (
        machine.node.layout.home(b.name),
        machine.nginx.logs(machine.node)[0],
        machine.node.layout.sites,
    ):
        said = machine.php_says(a, f"echo shell_exec('ls {path} 2>&1');")
        assert "Permission denied" in said, path


def test_s63_challenges_are_the_platforms_alone(machine: Machine, neighbours: tuple[Site, Site]) -> None:
    a, _ = neighbours
    folder = machine.public(a, ".well-known/acme-challenge")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text("of the tenant")
    machine.write(a, "index.php", "<?php echo 'of the tenant';")
    path = "/.well-known/acme-challenge/token"
    assert [machine.get(host, path).status for host in ("a.example", "b.example", "nobody.test")] == [404] * 3

    for host in ("a.example", "pending.example"):
        answers = Path(machine.node.layout.challenges.child(host))
        answers.mkdir(mode=0o755)
        (answers / "token").write_text("of the platform")
        answer = machine.get(host, path)
        assert (answer.text, answer.headers["Content-Type"]) == ("of the platform", "text/plain")
    assert machine.get("b.example", path).status == 404
    machine.serve(a.model_copy(update={"is_suspended": True}))
    assert machine.get("a.example", path).text == "of the platform"


def test_httpoxy_a_proxy_header_never_becomes_an_environment_variable(machine: Machine) -> None:
    site = machine.serve(machine.site(1, "a.example"))
    machine.write(site, "proxy.php", "<?php echo json_encode([getenv('HTTP_PROXY'), $_SERVER['HTTP_PROXY'] ?? null]);")

    assert machine.get("a.example", "/proxy.php", headers={"Proxy": "evil:1"}).text == "[false,null]"
