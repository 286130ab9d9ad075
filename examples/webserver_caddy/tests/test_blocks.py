"""Web options on real Caddy: every one does what it says or is refused, and no value says more than was meant."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import pytest
from hosthold_sdk import NotSupported, Site, WebOptions
from hosthold_sdk.testing.conformance.rendering import NODE, sample
from hosthold_sdk.testing.machine import Machine
from hosthold_webserver_caddy.blocks import block_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

HASH = "$6$" + "a" * 8 + "$" + "b" * 86
BRACES = ["{http.request.host}", "{env.HOME}", "{$HOME}", "{file./etc/passwd}", "{system.hostname}", "{args.0}", "{"]


def _site(machine: Machine, number: int = 1, **options: Any) -> Site:
    host = f"{'abcdefghi'[number]}.example"
    return machine.site(host, f"www.{host}", web=WebOptions.model_validate(options))


def _serve(machine: Machine, number: int = 1, **options: Any) -> Site:
    site = _site(machine, number, **options)
    machine.apply(site)
    machine.write(site, "index.php", "<?php header('X-Own: yes'); echo 'front:', $_SERVER['REQUEST_URI'];")
    machine.write(site, "page.html", "page")
    return site


def test_redirects_keep_what_they_should(machine: Machine) -> None:
    _serve(
        machine,
        redirects=(
            {"path": "/old", "to": "/new?a=b%20c"},
            {"path": "/shop/", "match": "prefix", "to": "https://shop.example/s/", "status": 302},
            {"path": "/shop/deep", "match": "prefix", "to": "/d", "status": 308},
            {"path": "/shop/exact", "to": "/e", "status": 307},
            {"path": "/a.b+c", "to": "/dots"},
        ),
    )
    for path, status, to in (
        ("/old", 301, "/new?a=b%20c"), ("/old?q", 301, "/new?a=b%20c"), ("//old", 301, "/new?a=b%20c"),
        ("/shop", 302, "https://shop.example/s/"), ("/shop/", 302, "https://shop.example/s/"),
        ("/shop/x%2Fy?z=%0d%0aX:%20y", 302, "https://shop.example/s/x%2Fy?z=%0d%0aX:%20y"),
        ("/shop/{http.request.host}", 302, "https://shop.example/s/{http.request.host}"),
        ("/%73hop/x", 302, "https://shop.example/s/"), ("/shop/deep/x", 308, "/d/x"), ("/shop/exact", 307, "/e"),
        ("/a.b+c", 301, "/dots"),
    ):  # fmt: skip
        answer = machine.get("b.example", path)
        assert (answer.status, answer.headers.get("Location")) == (status, to), path
    for path in ("/older", "/Old", "/old/", "/shopping", "/SHOP/x", "/aXb+c", "/a.bb+c", "/x/old"):
        assert machine.get("b.example", path).status == 200, path


def test_headers_are_on_every_answer_and_on_no_other_sites(machine: Machine) -> None:
    value = "max-age=1; a='b' `c` #d ~e^f|g [h] <i> @j %k, !l"
    _serve(machine, headers=({"name": "X-A", "value": value}, {"name": "X-Own", "value": "too"}))
    _serve(machine, 2)
    for path in ("/", "/page.html", "/missing.php", "/.env", "/anything"):
        assert machine.get("WWW.B.example", path).headers["X-A"] == value, path
        assert "X-A" not in machine.get("c.example", path).headers, path


def test_rules_hold_for_their_place_alone(machine: Machine) -> None:
    site = _serve(
        machine,
        rules=(
            {"path": "/", "cache_seconds": 60},
            {"path": "/closed", "access": "nobody"},
            {"path": "/closed/open", "access": "everybody", "cache_seconds": 0},
            {"path": "/listed/", "access": "listed", "addresses": ("127.0.0.0/8", "2001:db8::/32")},
            {"path": "/others", "access": "listed", "addresses": ("192.0.2.1",)},
        ),
    )
    for name in ("closed", "closed/open", "listed", "others"):
        machine.public(site, name).mkdir(exist_ok=True)
        machine.write(site, f"{name}/x.html", name)
        machine.write(site, f"{name}/x.php", f"<?php echo '{name}';")
    for path, status in (
        ("/closed", 403), ("/closed/", 403), ("/closed/x.html", 403), ("/closed/x.php", 403), ("//closed/x.html", 403),
        ("/%63losed/x.html", 403), ("/closed/open/../x.html", 403), ("/listed/../closed/x.html", 403),
        ("/./closed/x.php", 403), ("/closed%2fx.html", 403), ("/others/x.html", 403), ("/closed/open", 301),
        ("/closed/open/x.html", 200), ("/listed/x.html", 200), ("/CLOSED/OPEN/x.html", 200),
    ):  # fmt: skip
        answer = machine.get("b.example", path, headers={"X-Forwarded-For": "192.0.2.1"})
        assert answer.status == status, (path, answer)
        assert answer.text != "closed", path
    kept = {path: machine.get("b.example", path).headers.get("Cache-Control") for path in (
        "/page.html", "/closed/open/x.html", "/closed/open/x.php", "/index.php", "/missing.php",
    )}  # fmt: skip
    assert kept == {
        "/page.html": "max-age=60", "/closed/open/x.html": "no-cache", "/closed/open/x.php": None, "/index.php": None,
        "/missing.php": "no-store",
    }  # fmt: skip
    _serve(machine, 2)
    assert "Cache-Control" not in machine.get("c.example", "/page.html").headers


class _Program(BaseHTTPRequestHandler):
    """Says what it was asked; upgrades to a connection that answers in reverse."""

    def do_GET(self) -> None:
        if self.headers.get("Upgrade") == "websocket":
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            self.wfile.write(self.rfile.read(4)[::-1])
            return
        names = ("Host", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "Upgrade")
        body = "|".join([self.path, *(str(self.headers.get(name)) for name in names)]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "caddy"

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _program(machine: Machine, site: Site) -> Iterator[None]:
    path = Path(machine.node.layout.home(site.name)) / "app.sock"
    with ThreadingUnixStreamServer(str(path), _Program) as server:
        server.daemon_threads = True
        path.chmod(0o777)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()
    path.unlink()


def test_proxies_reach_the_sites_own_program(machine: Machine) -> None:
    site = _serve(
        machine,
        proxies=({"path": "/app", "socket": "app.sock", "websocket": True}, {"path": "/plain", "socket": "app.sock"}),
        rules=({"path": "/app/closed", "access": "nobody"},),
    )
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    with _program(machine, site):
        for path in ("/app", "/app/", "/app/a%2Fb/c.php?d=e", "/app/.x", "/app/%7Bhttp.request.host%7D"):
            said = machine.get("b.example:8", path, headers={"X-Forwarded-For": "192.0.2.9"}).text
            assert said == f"{path}|b.example:8|127.0.0.1|127.0.0.1|http|None", path
        assert machine.get("b.example", "/app/closed").status == 403
        assert machine.get("b.example", "/apple").text.startswith("front:")
        assert machine.get("b.example", "/plain", headers=upgrade).text.endswith("|None")
        with socket.create_connection(("127.0.0.1", machine.node.listen.port), 10) as peer:
            peer.sendall(
                b"GET /app/ws HTTP/1.1\r\nHost: b.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            )
            head = b""
            while b"\r\n\r\n" not in head:
                head += peer.recv(1)
            peer.sendall(b"abcd")
            assert (head.split()[1], peer.recv(4)) == (b"101", b"dcba")
    assert machine.get("b.example", "/app").status == 502
    assert machine.get("b.example", "/page.html").text == "page"


def test_what_the_platform_answers_is_beyond_every_option(machine: Machine) -> None:
    _serve(machine, rules=({"path": "/", "access": "nobody"},), proxies=({"path": "/", "socket": "app.sock"},))
    assert machine.get("b.example", "/page.html").status == 403
    assert machine.get("b.example", "/.well-known/hosthold-ping").text == "pong"
    assert machine.get("b.example", "/.well-known/hosthold-route").status == 204
    assert machine.get("b.example", "/.well-known/acme-challenge/x").status == 404


@pytest.mark.parametrize("path", ["/.well-known/acme-challenge/x", "/.well-known/hosthold-ping", "/.hosthold/x"])
def test_s63_no_option_reaches_what_is_the_platforms_own(machine: Machine, path: str) -> None:
    with pytest.raises(NotSupported, match="platform's own"):
        machine.desired(_site(machine, redirects=({"path": path, "to": "/"},)))


def test_passwords_are_refused_with_a_hint(machine: Machine) -> None:
    with pytest.raises(NotSupported, match="SHA-512") as refused:
        machine.desired(_site(machine, basic_auth=({"users": ({"name": "a", "password_hash": HASH},)},)))
    assert "nginx" in refused.value.hint


def test_options_come_and_go_and_a_suspended_site_has_no_block(machine: Machine) -> None:
    site = _serve(machine, headers=({"name": "X-A", "value": "b"},))
    block = Path(machine.node.layout.blocks, f"{site.name}.caddy")
    assert block.exists()
    suspended = site.model_copy(update={"is_suspended": True})
    machine.apply(suspended)
    assert (block.exists(), machine.get("b.example").status) == (False, 503)
    machine.apply(site.model_copy(update={"web": WebOptions()}))
    assert (block.exists(), "X-A" in machine.get("b.example", "/page.html").headers) == (False, False)


def test_a_reload_gives_nobody_a_wrong_answer_and_hardly_anybody_none(machine: Machine) -> None:
    site = _serve(machine, 3)
    is_over = threading.Event()

    def visit() -> list[tuple[int, str]]:
        seen = []
        while not is_over.is_set():
            answer = machine.get("d.example", "/page.html")
            seen.append((answer.status, answer.text))
        return seen

    with ThreadPoolExecutor(4) as visitors:
        visits = [visitors.submit(visit) for _ in range(4)]
        for number in range(10):
            web = WebOptions.model_validate({"headers": ({"name": "X-Number", "value": str(number)},)})
            machine.apply(site.model_copy(update={"web": web}))
            assert machine.get("d.example", "/page.html").headers["X-Number"] == str(number)
        is_over.set()
    answers = [one for each in visits for one in each.result()]
    assert len(answers) > 100
    assert set(answers) <= {(200, "page"), (0, "")}
    is_migrated = Path("/proc/sys/net/ipv4/tcp_migrate_req").read_text().strip() == "1"
    assert answers.count((0, "")) <= (0 if is_migrated else len(answers) / 20)


def test_a_configuration_that_caddy_refuses_is_undone(machine: Machine) -> None:
    site = _serve(machine, 4)
    stray = Path(machine.node.layout.blocks, "stray.caddy")
    stray.write_text("no_such_directive\n")
    web = WebOptions.model_validate({"headers": ({"name": "X-A", "value": "b"},)})
    with pytest.raises(AssertionError, match=r"CheckFailed.*no_such_directive"):
        machine.apply(site.model_copy(update={"web": web}))
    stray.unlink()
    assert machine.plan(site) == ()
    assert machine.get("e.example", "/page.html").text == "page"


@pytest.mark.parametrize("braces", BRACES)
def test_s21_no_type_lets_braces_through(machine: Machine, braces: str) -> None:
    for options in (
        {"headers": ({"name": "X-A", "value": braces},)},
        {"redirects": ({"path": "/a", "to": f"/{braces}"},)},
        {"redirects": ({"path": f"/{braces}", "to": "/a"},)},
        {"rules": ({"path": f"/{braces}", "access": "nobody"},)},
        {"proxies": ({"path": "/a", "socket": f"a{braces}"},)},
    ):
        with pytest.raises(ValidationError):
            WebOptions.model_validate(options)
    unchecked = _site(machine, headers=({"name": "X-A", "value": "b"},))
    header = unchecked.web.headers[0].model_copy(update={"value": braces})
    with pytest.raises(NotSupported, match="cannot be written"):
        block_of(
            unchecked.model_copy(update={"web": WebOptions.model_construct(headers=(header,))}), machine.node, "caddy"
        )


_SAFE = " !#%&'()*+,./:;<=>?@_|~^`[]-{}$\\\"\n\tAz09"
_PATHS = st.lists(st.text("Az09._~@+=,-", min_size=1, max_size=6), max_size=3).map(lambda parts: "/" + "/".join(parts))


@st.composite
def _options(draw: st.DrawFn) -> WebOptions:
    """Options that the types accept, of characters that mean something somewhere."""
    values = draw(st.lists(st.text(_SAFE, min_size=1, max_size=30), max_size=3))
    paths = draw(st.lists(_PATHS, max_size=3, unique=True))
    match = draw(st.sampled_from(["exact", "prefix"]))
    try:
        return WebOptions.model_validate(
            {
                "headers": [{"name": f"X-{number}", "value": value} for number, value in enumerate(values)],
                "redirects": [{"path": path, "match": match, "to": path, "status": 302} for path in paths],
                "rules": [{"path": path, "access": "nobody"} for path in paths],
            }
        )
    except ValidationError:
        return WebOptions.model_validate({"headers": [{"name": "X-0", "value": "refused"}]})


@given(every=st.lists(_options(), min_size=30, max_size=30))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_s21_what_is_rendered_says_what_was_meant_and_nothing_else(every: list[WebOptions]) -> None:
    sites = [
        sample(name=f"s{number}", domains=(f"s{number}.example",), web=web)
        for number, web in enumerate(every)
        if not web.is_standard
    ]
    blocks = [block_of(site, NODE, "caddy") for site in sites]
    text = "".join(block.content for block in blocks if block is not None)
    adapted = subprocess.run(
        ("/usr/bin/caddy", "adapt", "--adapter", "caddyfile", "--config", "/dev/stdin"),
        input=f":1 {{\nroute {{\n{text}}}\n}}\n".encode(), capture_output=True, check=True,
    )  # fmt: skip
    server = json.loads(adapted.stdout)["apps"]["http"]["servers"]["srv0"]
    (outer,) = server["routes"][0]["handle"]
    assert len(outer.get("routes", [])) == len(sites)
    for site, route in zip(sites, outer.get("routes", []), strict=True):
        assert route["match"] == [{"host": list(site.domains)}]
        inner = route["handle"][0]["routes"]
        added = [value for one in inner for each in one["handle"] for value in _added(each)]
        assert added == [(f"X-{number}", header.value) for number, header in enumerate(site.web.headers)]
        told = [each["headers"]["Location"][0] for one in inner for each in one["handle"] if "status_code" in each]
        prefixes = [each for each in told if "{" in each]
        assert sorted(each for each in told if "{" not in each) == sorted(str(one.to) for one in site.web.redirects)
        assert all(each.count("{") == 1 and "{http.regexp.s" in each for each in prefixes)


def _added(handler: dict[str, Any]) -> list[tuple[str, str]]:
    added = handler.get("response", {}).get("add", {})
    return [(name, value) for name, values in added.items() for value in values]


def test_a_socket_that_no_address_has_room_for_is_refused(machine: Machine) -> None:
    with pytest.raises(NotSupported, match="too long"):
        machine.desired(_site(machine, proxies=({"path": "/a", "socket": "a" * 90 + "/app.sock"},)))
