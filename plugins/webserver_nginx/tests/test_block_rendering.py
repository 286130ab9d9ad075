"""Whatever the types accept of web options, nginx reads exactly the directives that were meant, each value one word."""

from __future__ import annotations

import tempfile
from typing import Any

import crossplane
import pytest
from hosthold_sdk import (
    AbsolutePath,
    Domain,
    Isolation,
    Limits,
    Listen,
    Node,
    NodeLayout,
    NotSupported,
    Owner,
    RelativePath,
    Runtime,
    Site,
    UnixName,
    WebOptions,
)
from hosthold_webserver_nginx.driver import NginxWebServer
from hosthold_webserver_nginx.settings import NginxSettings
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

DRIVER = NginxWebServer(NginxSettings())
NODE = Node(
    name="n1",
    layout=NodeLayout(state=AbsolutePath("/state"), run=AbsolutePath("/run")),
    listen=Listen(tls_port=443),
    isolation=Isolation.unix_user,
    root=Owner(uid=0, gid=0),
    web=Owner(uid=33, gid=33),
    web_user="www-data",
)
HOSTILE = (
    "a;b",
    "a{b",
    "}",
    "$host",
    "a b",
    "a\nb",
    'a"b',
    "a'b",
    "\\",
    "a\0b",
    "#",
    "é",
    "%0d%0a",
    "`id`",
    "../x",
    "//x",
    "/./x",
)
PART = st.from_regex(r"[A-Za-z0-9._~@+=,-]{1,12}", fullmatch=True) | st.sampled_from(HOSTILE)
PATH = st.lists(PART, max_size=3).map(lambda parts: "/" + "/".join(parts))
VALUE = st.text(st.characters(min_codepoint=0, max_codepoint=255), min_size=1, max_size=40) | st.sampled_from(HOSTILE)
NAME = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True) | st.sampled_from(HOSTILE)
REDIRECT = st.fixed_dictionaries(
    {
        "path": PATH,
        "match": st.sampled_from(["exact", "prefix"]),
        "to": PATH | PATH.map("https://x.example".__add__) | VALUE,
        "status": st.sampled_from([301, 302, 307, 308]),
    }
)
HEADER = st.fixed_dictionaries({"name": NAME, "value": VALUE})
USER = st.just({"name": "ann", "password_hash": "$6$saltsalt$" + "a" * 86})
AUTH = st.fixed_dictionaries(
    {"path": PATH, "realm": st.sampled_from(["Staff only", *HOSTILE]), "users": st.tuples(USER)}
)
ADDRESS = st.sampled_from(["192.0.2.0/24", "2001:db8::1", *(f"fe80::%{zone}" for zone in HOSTILE)])
RULE = st.one_of(
    st.fixed_dictionaries({"path": PATH, "access": st.sampled_from(["everybody", "nobody", "inherited"])}),
    st.fixed_dictionaries({"path": PATH, "access": st.just("listed"), "addresses": st.tuples(ADDRESS, ADDRESS)}),
    st.fixed_dictionaries({"path": PATH, "cache_seconds": st.integers(0, 31_536_000)}),
)
PROXY = st.fixed_dictionaries({"path": PATH, "socket": PART, "websocket": st.booleans()})
KINDS = {"redirects": REDIRECT, "headers": HEADER, "basic_auth": AUTH, "rules": RULE, "proxies": PROXY}


def _accepted(kind: str, values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that the types accept, the first of each place."""
    found: list[dict[str, Any]] = []
    for value in values:
        try:
            WebOptions.model_validate({kind: (*found, value)})
        except ValidationError:
            continue
        found.append(value)
    return found


def _parsed(text: str) -> list[dict[str, Any]]:
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"http {{\n{text}}}\n")
        file.flush()
        parsed = crossplane.parse(file.name, single=True, strict=True)
    assert parsed["errors"] == []
    (http,) = parsed["config"][0]["parsed"]
    directives: list[dict[str, Any]] = http["block"]
    return directives


def _all(directives: list[dict[str, Any]], name: str) -> list[list[str]]:
    found = []
    for one in directives:
        if one["directive"] == name:
            found.append(one["args"])
        found += _all(one.get("block", []), name)
    return found


@given(st.fixed_dictionaries({kind: st.lists(values, max_size=4) for kind, values in KINDS.items()}))
def test_s21_s22_options_become_the_directives_that_they_mean_and_no_others(
    values: dict[str, list[dict[str, Any]]],
) -> None:
    web = WebOptions.model_validate({kind: _accepted(kind, some) for kind, some in values.items()})
    site = Site(
        id="0" * 32,
        account_id="0" * 32,
        name=UnixName("s1"),
        uid=64001,
        domains=(Domain("a.example"), Domain("www.a.example")),
        runtime=Runtime(driver="php", version="8.2"),
        document_root=RelativePath("public"),
        limits=Limits(),
        web=web,
    )
    try:
        block = DRIVER.render_block(site, NODE)
    except NotSupported:
        with pytest.raises(NotSupported, match="platform's own"):
            DRIVER.render_block(site, NODE)
        return
    if block is None:
        assert web.is_standard
        return
    assert all(character == "\n" or " " <= character <= "~" for character in block.content)
    (server,) = _parsed(block.content)
    inside = server["block"]
    assert server["directive"] == "server"
    assert _all(inside, "server_name") == [["a.example"], ["www.a.example"]]
    assert [one["args"] for one in inside if one["directive"] == "add_header"] == [
        [header.name, header.value, "always"] for header in web.headers
    ]
    targets = {answer[1] for answer in _all(inside, "return") if len(answer) == 2}
    meant = {str(redirect.to) for redirect in web.redirects}
    assert {target for target in targets if not target.endswith("$1$is_args$args")} == meant
    places = [location["args"] for location in inside if location["directive"] == "location"]
    assert len({tuple(place) for place in places}) == len(places), "nginx refuses two locations of one name"
    listed = {address for rule in web.rules for address in rule.addresses}
    assert {args[0] for args in _all(inside, "allow")} - {"all", "127.0.0.1", "::1"} <= listed
    realms = {str(auth.realm) for auth in web.basic_auth}
    assert {args[0] for args in _all(inside, "auth_basic")} - {"off"} <= realms
    assert {args[0] for args in _all(inside, "proxy_pass")} <= {f"http://unix:$host/proxy{n}" for n in range(4)}
    own = {
        "server",
        "listen",
        "server_name",
        "location",
        "if",
        "return",
        "add_header",
        "auth_basic",
        "auth_basic_user_file",
    }
    own |= {"allow", "deny", "expires", "proxy_pass", "proxy_http_version", "proxy_redirect", "proxy_set_header"}
    own |= {"proxy_read_timeout", "root", "disable_symlinks", "index", "try_files", "alias", "types", "default_type"}
    own |= {"log_not_found", "access_log", "error_page", "fastcgi_param", "fastcgi_pass", "internal"}
    assert _names([server]) <= own


def _names(directives: list[dict[str, Any]]) -> set[str]:
    return {one["directive"] for one in directives}.union(*(_names(one.get("block", [])) for one in directives))
