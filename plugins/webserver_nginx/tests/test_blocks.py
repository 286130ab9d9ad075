"""What visitors get from a site with web options of its own, from real nginx and PHP-FPM."""

from __future__ import annotations

import base64
import http.server
import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hosthold_sdk import NotSupported, Site, WebOptions

from .conftest import Answer, Machine

# `openssl passwd -6 -salt saltsalt secret`
SECRET = "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1"


def _serve(machine: Machine, **options: object) -> Site:
    site = machine.site(1, "a.example", "www.a.example", web=WebOptions.model_validate(options))
    machine.serve(site)
    machine.write(
        site, "index.php", "<?php echo 'front:', $_SERVER['REQUEST_URI'], ':', $_SERVER['REMOTE_USER'] ?? '';"
    )
    machine.write(site, "page.html", "page")
    machine.write(site, "admin/page.html", "admin page")
    machine.write(site, "admin/run.php", "<?php echo 'admin run';")
    machine.write(site, ".secret", "secret")
    return site


def _login(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/old", 301, "/new"),
        ("/old?x=1", 301, "/new"),
        ("/older", 200, None),
        ("/shop", 302, "https://shop.example/s"),
        ("/shop/", 302, "https://shop.example/s/"),
        ("/shop/a/b?c=d", 302, "https://shop.example/s/a/b?c=d"),
        ("/shop/%0d%0aX-Evil:%201", 302, "https://shop.example/s/%0d%0aX-Evil:%201"),
        ("/shopping", 200, None),
        ("/deep/", 308, "/x/?y=1"),
        ("//shop/a", 302, "https://shop.example/s"),
    ],
)
def test_redirects(machine: Machine, path: str, status: int, location: str | None) -> None:
    if path == "/old":
        _serve(
            machine,
            redirects=(
                {"path": "/old", "to": "/new"},
                {"path": "/shop/", "match": "prefix", "to": "https://shop.example/s", "status": 302},
                {"path": "/deep/", "to": "/x/?y=1", "status": 308},
            ),
        )
    answer = machine.get("www.a.example", path)
    assert (answer.status, answer.headers.get("Location")) == (status, location)
    assert "X-Evil" not in answer.headers


def test_a_whole_site_can_lead_elsewhere_and_still_answers_for_its_certificate(machine: Machine) -> None:
    _serve(machine, redirects=({"path": "/", "match": "prefix", "to": "https://new.example/"},))

    assert machine.get("a.example", "/a.php?b").headers["Location"] == "https://new.example/a.php?b"
    assert machine.get("a.example", "/.well-known/acme-challenge/x").status == 404
    assert machine.get("a.example", "/.well-known/hosthold-ping").status == 200


def test_headers_are_in_every_answer(machine: Machine) -> None:
    _serve(
        machine,
        headers=({"name": "X-Frame-Options", "value": "DENY"}, {"name": "X-Odd", "value": "a;b 'c' #d ~*[e]"}),
        redirects=({"path": "/old", "to": "/new"},),
    )
    for path in ("/page.html", "/", "/.secret", "/missing.php", "/old", "/.well-known/acme-challenge/x"):
        answer = machine.get("a.example", path)
        assert (answer.headers.get("X-Frame-Options"), answer.headers.get("X-Odd")) == ("DENY", "a;b 'c' #d ~*[e]"), (
            path
        )


def test_passwords_are_asked_for_at_a_path_and_below_it(machine: Machine) -> None:
    _serve(machine, basic_auth=({"path": "/admin/", "users": ({"name": "ann", "password_hash": SECRET},)},))
    for path in (
        "/admin",
        "/admin/",
        "/admin/page.html",
        "/admin/run.php",
        "/admin/none",
        "//admin/run.php",
        "/x/../admin/",
    ):
        assert machine.get("a.example", path).status == 401, path
        assert machine.get("a.example", path, headers=_login("ann", "wrong")).status == 401, path
    right = _login("ann", "secret")
    assert machine.get("a.example", "/admin/page.html", headers=right).text == "admin page"
    assert machine.get("a.example", "/admin/run.php", headers=right).text == "admin run"
    assert (
        machine.get("a.example", "/admin/none", headers=right).text == "front:/admin/none:"
    )  # a name that nobody checked would look the same
    assert machine.get("a.example", "/administrator").status == 200
    assert machine.get("a.example", "/page.html").text == "page"


def test_a_password_for_the_whole_site_keeps_the_platforms_own_paths_open(machine: Machine) -> None:
    _serve(machine, basic_auth=({"users": ({"name": "ann", "password_hash": SECRET},)},))

    assert [machine.get("a.example", path).status for path in ("/", "/page.html", "/.secret")] == [401] * 3
    assert machine.get("a.example", "/page.html", headers=_login("ann", "secret")).status == 200
    assert machine.get("a.example", "/.well-known/hosthold-ping").status == 200
    assert machine.get("a.example", "/.well-known/hosthold-route").status == 204
    assert machine.get("a.example", "/.well-known/acme-challenge/x").status == 404


def test_rules_about_who_may_ask_and_how_long_files_are_kept(machine: Machine) -> None:
    _serve(
        machine,
        rules=(
            {"path": "/", "cache_seconds": 60},
            {"path": "/admin", "access": "nobody", "cache_seconds": 0},
            {"path": "/admin/open", "access": "everybody"},
            {"path": "/office", "access": "listed", "addresses": ("192.0.2.0/24",)},
            {"path": "/here", "access": "listed", "addresses": ("127.0.0.1", "2001:db8::/32")},
            {"path": "/admin/open/kept", "cache_seconds": 3600},
            {"path": "/admin/run.php", "access": "everybody"},
        ),
    )

    def status(path: str) -> int:
        return machine.get("a.example", path).status

    assert [status(path) for path in ("/admin", "/admin/page.html", "/admin/x.php", "/office", "/office/")] == [403] * 5
    assert [status(path) for path in ("/admin/open", "/admin/open/x", "/admin/open/kept", "/here/x")] == [200] * 4
    assert machine.get("a.example", "/admin/run.php").text == "admin run"
    page = machine.get("a.example", "/page.html")
    assert page.headers["Cache-Control"] == "max-age=60"
    assert "Cache-Control" not in machine.get("a.example", "/").headers  # what PHP says of its own pages counts


def test_a_rule_opens_nothing_that_is_hidden(machine: Machine) -> None:
    _serve(machine, rules=({"path": "/.secret", "access": "everybody"}, {"path": "/.git/x", "cache_seconds": 1}))

    assert [machine.get("a.example", path).status for path in ("/.secret", "/.git/x", "/.git/x/y")] == [404] * 3


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.headers.get("Upgrade") == "websocket":
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.wfile.write(self.rfile.read(4)[::-1])
            return
        names = ("Host", "X-Forwarded-For", "X-Forwarded-Proto", "Connection")
        body = "|".join((self.path, *(str(self.headers.get(name)) for name in names))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return

    def address_string(self) -> str:
        return ""


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def _program(machine: Machine, site: Site) -> Iterator[None]:
    """A program of the site's own, listening where its user may make sockets."""
    folder = Path(machine.node.layout.home(site.name)) / "run"
    folder.mkdir(exist_ok=True)
    path = folder / "app.sock"
    path.unlink(missing_ok=True)
    server = _Server(str(path), _Handler)
    os.chown(path, site.uid, site.uid)
    path.chmod(0o666)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield
    server.shutdown()
    server.server_close()


def test_a_path_is_passed_to_a_program_of_the_sites_own(machine: Machine) -> None:
    site = _serve(
        machine,
        proxies=({"path": "/app", "socket": "run/app.sock", "websocket": True},),
        rules=({"path": "/app/closed", "access": "nobody"},),
    )
    with _program(machine, site):
        spoofed = {"X-Forwarded-For": "192.0.2.9"}
        for path in ("/app", "/app/", "/app/a%2Fb/c.php?d=e", "/app/.x"):
            said = machine.get("a.example", path, headers=spoofed).text
            assert said == f"{path}|a.example|127.0.0.1|http|None", path
        assert machine.get("a.example", "/app/closed").status == 403
        assert machine.get("a.example", "/apple").text.startswith("front:")
        with socket.create_connection(("127.0.0.1", machine.node.listen.port), 10) as peer:
            peer.sendall(
                b"GET /app/ws HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            )
            head = b""
            while b"\r\n\r\n" not in head:
                head += peer.recv(1)
            peer.sendall(b"abcd")
            assert (head.split()[1], peer.recv(4)) == (b"101", b"dcba")
    assert machine.get("a.example", "/app").status == 502
    assert machine.get("a.example", "/page.html").text == "page"


def test_a_whole_site_can_be_a_program(machine: Machine) -> None:
    site = _serve(machine, proxies=({"path": "/", "socket": "run/app.sock"},))
    with _program(machine, site):
        for path in ("/", "/index.php", "/folder/", "/x/.y"):
            assert machine.get("www.a.example", path).text == f"{path}|www.a.example|127.0.0.1|http|None"
        assert machine.get("a.example", "/.well-known/acme-challenge/x").status == 404
        assert machine.get("a.example", "/.well-known/hosthold-ping").status == 200


def test_a_site_that_is_suspended_or_standard_has_no_block(machine: Machine) -> None:
    site = _serve(machine, headers=({"name": "X-A", "value": "b"},))
    block = Path(machine.node.layout.blocks) / f"{site.name}.conf"
    assert block.exists()

    suspended = machine.serve(site.model_copy(update={"is_suspended": True}))
    assert not block.exists()
    assert _plain(machine.get("a.example", "/page.html")) == (503, None)
    machine.serve(suspended.model_copy(update={"is_suspended": False, "web": WebOptions()}))
    assert not block.exists()
    assert _plain(machine.get("a.example", "/page.html")) == (200, None)


def _plain(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.headers.get("X-A")


@pytest.mark.parametrize("path", ["/.well-known/acme-challenge/x", "/.well-known/hosthold-ping", "/.hosthold/x"])
def test_s63_no_option_reaches_what_is_the_platforms_own(machine: Machine, path: str) -> None:
    with pytest.raises(NotSupported, match="platform's own"):
        machine.resources(
            machine.site(1, "a.example", web=WebOptions.model_validate({"redirects": ({"path": path, "to": "/"},)}))
        )
