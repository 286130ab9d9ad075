"""What visitors get from real nginx and PHP-FPM: pages, refusals, pauses, logs."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hosthold_sdk import Domain, Isolation, Limits, RelativePath

from .conftest import Machine

BOTH = pytest.mark.parametrize("machine", list(Isolation), indirect=True)


@BOTH
def test_static_files_are_served_with_their_type_and_missing_ones_are_404(machine: Machine) -> None:
    site = machine.serve(machine.site(1, "a.example"))
    machine.write(site, "style.css", "body {}")
    machine.public(site, "index.php").unlink()

    assert machine.get("a.example", "/style.css").headers["Content-Type"] == "text/css"
    for path in ("/missing.css", "/missing.php", "/", "/.htaccess", "/.hosthold/suspended.html"):
        assert machine.get("a.example", path).status in ((403, 404) if path == "/" else (404,)), path


def test_a_front_controller_gets_what_is_no_file(machine: Machine) -> None:
    site = machine.serve(machine.site(1, "a.example"))
    machine.write(site, "index.php", "<?php echo $_SERVER['REQUEST_URI'], ' ', $_GET['q'], ' ', $_SERVER['HTTP_HOST'];")

    answer = machine.get(f"a.example:{machine.node.listen.port}", "/some/page?q=1")

    assert answer.text == f"/some/page?q=1 1 a.example:{machine.node.listen.port}"


def test_source_code_is_never_sent(machine: Machine) -> None:
    site = machine.serve(machine.site(1, "a.example"))
    for name in ("one.PHP", "two.phtml", "three.phar", "four.php5", ".env"):
        machine.write(site, name, "<?php $secret = 'canary';")
        answer = machine.get("a.example", f"/{name}")
        assert (answer.status in (403, 404), "canary" in answer.text) == (True, False), name


def test_s61_a_request_without_a_usable_host_reaches_no_site(machine: Machine) -> None:
    machine.serve(machine.site(1, "a.example"))

    assert machine.get(None, version=10).status == 0
    assert [machine.get(host).status for host in (None, "", "..", "../a.example", "a.example/../x")] == [400] * 5
    log = machine.error_log()
    assert "while logging request" not in log


@BOTH
def test_a_suspended_site_says_so_whatever_is_asked(machine: Machine) -> None:
    site = machine.serve(machine.site(1, "a.example", "www.a.example"))
    machine.write(site, "style.css", "body {}")
    machine.serve(site.model_copy(update={"is_suspended": True}))

    for method in ("GET", "POST", "PUT", "DELETE", "FOO"):
        for path in ("/", "/style.css", "/index.php", "/missing", "/.env", "/.well-known/hosthold-ping"):
            answer = machine.get("www.a.example", path, method=method)
            assert (answer.status, "paused" in answer.text) == (503, True), (method, path)
            assert answer.headers["Retry-After"]
    assert machine.get("a.example", "/", method="POST", body=b"x" * 100_000).status == 503

    machine.serve(site)
    assert machine.get("a.example").status == 200


def test_a_changed_document_root_is_served_at_once(machine: Machine) -> None:
    site = machine.serve(machine.site(1, "a.example"))
    _age(machine.write(site, "index.php", "<?php echo 'before';"))
    assert [machine.get("a.example").text for _ in range(3)] == ["before"] * 3

    moved = machine.serve(site.model_copy(update={"document_root": RelativePath("app/web")}))
    _age(machine.write(moved, "index.php", "<?php echo 'after';"))

    assert [machine.get("a.example").text for _ in range(3)] == ["after"] * 3


def test_a_release_that_is_switched_by_a_link_is_served_at_once(machine: Machine) -> None:
    site = machine.serve(machine.site(1, "a.example"))
    for release in ("one", "two"):
        _age(machine.write(site, f"{release}/index.php", f"<?php echo '{release} ', $_SERVER['DOCUMENT_ROOT'];"))
    root = machine.public(site)
    machine.link(site, root.with_name("current"), root / "one")
    switched = machine.serve(site.model_copy(update={"document_root": RelativePath("current")}))
    assert [machine.get("a.example").text for _ in range(3)] == [f"one {root}/one"] * 3

    machine.link(site, root.with_name("current"), root / "two")

    assert [machine.get("a.example").text for _ in range(3)] == [f"two {root}/two"] * 3
    machine.public(switched).unlink()
    assert machine.get("a.example", "/.well-known/hosthold-ping").status == 200, "asks nothing of the site's files"


def _age(path: Path) -> None:
    """Make a file look a minute old: OPcache does not keep files that are younger than two seconds."""
    os.utime(path, (time.time() - 60, time.time() - 60))


def test_r12_a_master_is_replaced_without_losing_a_request(machine: Machine) -> None:
    site = machine.serve(machine.site(1, "a.example"))
    machine.write(site, "slow.php", "<?php $end = microtime(true) + .3; while (microtime(true) < $end); echo 'done';")
    with ThreadPoolExecutor(4) as visitors:
        slow = [visitors.submit(machine.get, "a.example", "/slow.php") for _ in range(3)]
        machine.wait(lambda: machine.get("a.example", "/.well-known/hosthold-ping").text == "pong")

        machine.replace(site)

        quick = [machine.get("a.example", "/.well-known/hosthold-ping").text for _ in range(50)]
        assert [one.result().text for one in slow] == ["done"] * 3
    assert quick == ["pong"] * 50
    assert Path(machine.node.layout.socket(site.name)).is_socket()


def test_the_longest_accepted_domain_is_served(machine: Machine) -> None:
    longest = Domain("a" * 46 + "." + "b" * 46 + ".test")
    assert len(longest) == 98

    machine.serve(machine.site(3, longest))

    assert machine.get(longest).status == 200


@BOTH
def test_limits_and_settings_are_applied(machine: Machine) -> None:
    site = machine.site(1, "a.example", limits=Limits(memory_mb=64, upload_mb=2, execution_seconds=7))
    chosen = {"memory_limit": "32M", "max_input_vars": 1234, "display_errors": True, "date.timezone": "Europe/Berlin"}
    runtime = site.runtime.model_copy(update={"settings": chosen})
    machine.stop("php-s1")
    machine.serve(site.model_copy(update={"runtime": runtime}))

    names = [*chosen, "upload_max_filesize", "post_max_size", "max_execution_time"]
    values = machine.php_says(site, f"echo implode(' ', array_map('ini_get', {names}));")
    assert values == "32M 1234 1 Europe/Berlin 2M 2M 7"
    assert machine.php_says(site, "echo json_encode(@ini_set('memory_limit', '512M'));") == "false"
    machine.write(site, "sub/.user.ini", "memory_limit = 512M\nmax_input_vars = 1001\n")
    machine.write(site, "sub/index.php", "<?php echo ini_get('memory_limit'), ini_get('max_input_vars');")
    assert machine.get("a.example", "/sub/").text == "32M1234"
    machine.stop("php-s1")


def test_an_upload_over_the_limit_is_refused(machine: Machine) -> None:
    machine.stop("php-s1")
    site = machine.serve(machine.site(1, "a.example", limits=Limits(upload_mb=1)))
    machine.write(site, "upload.php", "<?php echo $_FILES['f']['error'] ?? 'nothing', ' ', count($_POST);")
    results = []
    for size in (500_000, 3_000_000):
        body = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + b"x" * size + b"\r\n--x--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        results.append(machine.get("a.example", "/upload.php", method="POST", body=body, headers=headers).text[-9:])

    assert results[0] == "0 0"
    assert results[1].endswith("nothing 0")
    machine.stop("php-s1")


@BOTH
def test_logs_are_readable_by_their_owner_and_belong_to_somebody_else(machine: Machine) -> None:
    site = machine.serve(machine.site(1, "a.example"))
    assert machine.php_says(site, "error_log('a mistake');") == ""
    logs = Path(machine.node.layout.logs(site.name))

    assert "a mistake" in (logs / "php-error.log").read_text()
    if machine.node.isolation is Isolation.unix_user:
        for path in (logs, logs / "php-error.log"):
            assert path.stat().st_gid == site.uid
        assert not (logs / "php-error.log").stat().st_mode & 0o007


@BOTH
def test_all_sites_share_one_log_whose_lines_begin_with_the_name(machine: Machine) -> None:
    machine.serve(machine.site(1, "a.example"))
    machine.get("A.example", '/what?x=1"', headers={"User-Agent": 'a "quoted" one'})
    machine.get("nobody.test", "/unheard")
    access, _ = map(Path, machine.nginx.logs(machine.node))
    machine.wait(lambda: "/what" in access.read_text())

    (line,) = [line for line in access.read_text().splitlines() if "/what" in line]
    assert line.startswith("a.example 127.0.0.1 - - [")
    assert '] "GET /what?x=1\\x22 HTTP/1.1" ' in line
    assert line.endswith(' "-" "a \\x22quoted\\x22 one"')
    assert "/unheard" not in access.read_text()
    if machine.node.isolation is Isolation.unix_user:
        assert access.parent.stat().st_mode & 0o077 == 0
    master = machine.processes["nginx"].pid
    opened = [str(entry.readlink()) for entry in Path(f"/proc/{master}/fd").iterdir()]
    assert not [path for path in opened if "/sites/" in path]
