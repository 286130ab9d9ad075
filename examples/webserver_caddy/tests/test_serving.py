"""What visitors get from real Caddy and PHP-FPM: pages, refusals, pauses, logs."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from hosthold.types.resource import LogName
from hosthold_sdk import Domain, Header, Isolation, RelativePath, WebOptions
from hosthold_sdk.testing.machine import Machine

BOTH = pytest.mark.parametrize("running", list(Isolation), indirect=True)
UNKNOWN = [
    "nobody.test", "127.0.0.1", "[::1]", "_", "SUSPENDED.paused.example", "UPSTREAM.a.example", ".paused.example",
    "x" * 200 + ".com", "*", "a.exampl?", "[a].example", "{env.HOME}", "..", "../a.example", "a.example/../x", "", None,
    "%61.example", "a..example", "a.example..", "a.example%00", "a.example\\x",
]  # fmt: skip
PATHS = ["/", "/x.php", "/.git/x", "/.well-known/hosthold-ping", "/.well-known/hosthold-route", "/a.example/"]


def _written(machine: Machine, log: int) -> str:
    return Path(machine.webserver.logs(machine.node)[log]).read_text()


def _listening(machine: Machine) -> set[str]:
    """The listening sockets of Caddy, of which it opens a new one when it reloads."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == "0A" and row[1].endswith(f":{machine.node.listen.port:04X}")}


@BOTH
def test_a_site_answers_on_all_its_names_as_its_own_user(machine: Machine) -> None:
    site = machine.site("a.example", "www.a.example")
    machine.apply(site)
    assert machine.plan(site) == machine.plan_node() == ()

    for host in ("a.example", "www.a.example", "A.ExamplE", "a.example.", "a.example:80", "WWW.a.example.:9"):
        answer = machine.get(host)
        assert (answer.status, "is online" in answer.text) == (200, True), host
        assert "Server" not in answer.headers
    assert machine.get("a.example", "/.well-known/hosthold-ping").text == "pong"
    assert machine.get("a.example", "/.well-known/hosthold-ping", method="POST", body=b"x" * 9).text == "pong"
    machine.write(site, "who.php", "<?php echo posix_geteuid();")
    assert machine.get("a.example", "/who.php").text == str(machine.node.owner_of(site.uid).uid)


def test_what_is_a_file_a_folder_or_nothing(machine: Machine) -> None:
    site = machine.site("b.example")
    machine.apply(site)
    said = (
        "<?php echo implode('|', array_map(fn($n) => $_SERVER[$n] ?? '-', ['SCRIPT_NAME', 'PATH_INFO', 'REQUEST_URI',"
    )
    said += "'DOCUMENT_URI', 'HTTP_HOST', 'REMOTE_ADDR', 'HTTP_PROXY', 'HTTP_X_UNDER', 'SCRIPT_FILENAME', 'HTTPS']));"
    root = machine.public(site)
    for folder in ("sub", "plain", "bare", "d.php.d"):
        (root / folder).mkdir()
    for name in ("index.php", "sub/index.php", "d.php.d/x.php"):
        machine.write(site, name, said)
    machine.write(site, "style.css", "body {}")
    machine.write(site, "plain/index.html", "plain")
    machine.write(site, "odd %41 ?*{path}.txt", "odd")

    for path, script in (
        ("/", "/index.php"), ("/sub/", "/sub/index.php"), ("/sub/?q=1", "/sub/index.php"),
        ("/d.php.d/x.php?a=%2Fb", "/d.php.d/x.php"),
        ("/some/page?q=1", "/index.php"), ("/sub/page", "/index.php"), ("/index.php/more", "/index.php"),
        ("/*.css", "/index.php"), ("/nothing/", "/index.php"),
    ):  # fmt: skip
        headers = {"Proxy": "evil", "X_Under": "evil", "Under_X-Y": "evil"}
        answer = machine.get("b.example:8", path, headers=headers)
        uri = script if script.endswith("index.php") else path.partition("?")[0]
        expected = f"{script}||{path}|{uri}|b.example:8|127.0.0.1|-|-|{root}{script}|-"
        assert (answer.status, answer.text) == (200, expected), path
    assert machine.get("b.example", "/style.css").headers["Content-Type"].startswith("text/css")
    assert machine.get("b.example", "//style.css").text == "body {}"
    assert machine.get("b.example", "/plain/").text == "plain"
    assert machine.get("b.example", "/odd%20%2541%20%3F*%7Bpath%7D.txt").text == "odd"
    for path, place in (("/sub", "/sub/"), ("//sub?q=%0a", "/sub/?q=%0a"), ("/d.php%2ed", "/d.php%2ed/")):
        answer = machine.get("b.example", path)
        assert (answer.status, answer.headers["Location"]) == (301, place)
    for path in (
        "/missing.php",
        "/.env",
        "/sub/.htaccess",
        "/.well-known/.git/x",
        "/.wellknown",
        "/bare/",
        "/%2egit/x",
    ):
        answer = machine.get("b.example", path)
        assert (answer.status, "no such page" in answer.text) == (404, True), path
    for path in (
        "/%2e%2e/secret",
        "/../../../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/sub/..%2f..%2f..%2fetc/passwd",
    ):
        assert "root:" not in machine.get("b.example", path).text


def test_source_code_is_never_sent(machine: Machine) -> None:
    site = machine.site("c.example")
    machine.apply(site)
    for name in ("one.PHP", "two.phtml", "three.phar", "four.php5", ".env", "five.php"):
        machine.write(site, name, "<?php $secret = 'canary';")
        for path in (f"/{name}", f"//{name}", f"/x/../{name}", f"/{name}%20", f"/{name}/", f"/{name}%00", f"/{name}."):
            answer = machine.get("c.example", path)
            assert "canary" not in answer.text, path


@pytest.mark.parametrize("host", UNKNOWN)
def test_s61_unknown_hosts_reach_no_site(machine: Machine, host: str | None) -> None:
    sites = machine.site("a.example", "www.a.example"), machine.site("paused.example", is_suspended=True)
    machine.apply(*sites)
    before = _written(machine, 0)

    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "FOO"):
        for path in PATHS:
            answer = machine.get(host, path, method=method)
            assert answer.status in (0, 400), (method, path, answer)
    assert _written(machine, 0) == before, "nothing of it is logged"


def test_requests_that_name_two_hosts_reach_the_one_that_counts(machine: Machine) -> None:
    machine.apply(machine.site("a.example", "www.a.example"))

    def said(request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", machine.node.listen.port), 10) as peer:
            peer.sendall(request)
            return peer.recv(12)

    assert said(b"GET / HTTP/1.0\r\n\r\n") == b""
    assert said(b"GET http://nobody.test/ HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n") == b""
    assert said(b"GET / HTTP/1.1\r\nHost: a.example\r\nHost: nobody.test\r\n\r\n") == b"HTTP/1.1 400"
    assert said(b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example\r\n\r\n") == b"HTTP/1.1 405"


@BOTH
def test_a_suspended_site_says_so_whatever_is_asked(machine: Machine) -> None:
    site = machine.site("e.example", "www.e.example")
    machine.apply(site)
    machine.write(site, "style.css", "body {}")
    machine.apply(site.model_copy(update={"is_suspended": True}))

    for method in ("GET", "POST", "PUT", "DELETE", "FOO"):
        for path in ("/", "/style.css", "/index.php", "/missing", "/.env", "/.well-known/hosthold-ping"):
            answer = machine.get("WWW.e.example", path, method=method)
            assert (answer.status, "paused" in answer.text) == (503, True), (method, path)
            assert answer.headers["Retry-After"]
    assert machine.get("e.example", "/", headers={"Range": "bytes=0-1", "If-None-Match": "*"}).status == 503
    machine.apply(site)
    assert machine.get("e.example").status == 200


def test_sites_come_and_go_without_a_reload(machine: Machine) -> None:
    before = _listening(machine)
    site = machine.site("f.example")
    assert machine.get("f.example").status == 0
    machine.apply(site)
    assert machine.get("f.example").status == 200
    machine.apply(site.model_copy(update={"domains": (Domain("new.example"),)}))
    assert (machine.get("f.example").status, machine.get("new.example").status) == (0, 200)
    machine.remove(site)
    assert machine.get("new.example").status == 0
    assert _listening(machine) == before
    machine.apply(machine.site("h.example", web=WebOptions(headers=(Header(name="X-A", value="b"),))))
    assert _listening(machine) != before, "a reload is seen so"


def test_a_changed_document_root_is_served_at_once(machine: Machine) -> None:
    site = machine.site("g.example")
    machine.apply(site)
    moved = site.model_copy(update={"document_root": RelativePath("app/web")})
    for one, text in ((site, "before"), (moved, "after")):
        machine.apply(one)
        path = machine.write(one, "index.php", f"<?php echo '{text} ', $_SERVER['DOCUMENT_ROOT'];")
        os.utime(path, (time.time() - 60, time.time() - 60))  # OPcache does not keep what is younger than two seconds
        assert [machine.get("g.example").text for _ in range(3)] == [f"{text} {machine.public(one)}"] * 3
    assert machine.node.layout.hosts not in str(machine.public(moved))


def test_the_longest_accepted_domain_is_served(machine: Machine) -> None:
    longest = Domain("a" * 46 + "." + "b" * 46 + ".test")
    assert len(longest) == 98
    machine.apply(machine.site(longest))
    assert machine.get(longest).status == 200


def test_challenges_are_answered_from_the_platforms_folder_alone(machine: Machine) -> None:
    site = machine.site("i.example")
    machine.apply(site)
    folder = Path(machine.node.layout.challenges, "i.example")
    folder.mkdir()
    (folder / "token-1_A").write_text("answer")
    machine.public(site, ".well-known").mkdir()
    machine.public(site, ".well-known/acme-challenge").mkdir()
    machine.write(site, ".well-known/acme-challenge/own", "of the site")
    machine.write(site, ".well-known/security.txt", "contact")

    assert machine.get("I.example", "/.well-known/acme-challenge/token-1_A").text == "answer"
    for path in ("own", "", "..", "..%2ftoken", "../i.example/token-1_A", "token-1_A/", "x/token-1_A"):
        answer = machine.get("i.example", f"/.well-known/acme-challenge/{path}")
        assert (answer.status, "of the site" in answer.text) in ((404, False), (301, False)), path
    assert machine.get("i.example", "/.well-known/security.txt").text == "contact"


def test_a_site_reads_its_requests_and_errors_in_the_usual_form(machine: Machine) -> None:
    site = machine.site("j.example")
    machine.apply(site)
    machine.get("J.example", '/what?x=1"', headers={"User-Agent": 'a "quoted" one', "Referer": "http://r.example/"})
    machine.get("nobody.test", "/unheard")
    machine.apply(site.model_copy(update={"is_suspended": True}))
    machine.apply(site)

    deadline = time.monotonic() + 20
    while not (lines := machine.log(site, LogName.access)) and time.monotonic() < deadline:
        time.sleep(0.1)
    (line,) = [line for line in lines if "/what" in line]
    assert line.startswith("127.0.0.1 - - [")
    assert '] "GET /what?x=1\\x22 HTTP/1.1" ' in line
    assert line.endswith(' "http://r.example/" "a \\x22quoted\\x22 one"')
    assert "/unheard" not in _written(machine, 0)
