"""Reads back what a driver wrote in nginx's syntax: the directives that were meant, each value one word."""

from __future__ import annotations

import tempfile
from typing import Any

import crossplane

from hosthold_sdk import File, Site

_VOCABULARY = frozenset((
    "server", "listen", "server_name", "location", "if", "return", "add_header", "auth_basic",
    "auth_basic_user_file", "allow", "deny", "expires", "proxy_pass", "proxy_http_version", "proxy_redirect",
    "proxy_set_header", "proxy_read_timeout", "root", "disable_symlinks", "index", "try_files", "alias", "types",
    "default_type", "log_not_found", "access_log", "error_page", "fastcgi_param", "fastcgi_pass", "internal",
))  # fmt: skip
"""What a site's block needs. A name that is not among them came from a value, or is one more to be thought about."""


def check_block(block: File, site: Site) -> None:
    """Fails unless the block, as nginx would read it, means the site's options and nothing else (S-21, S-22)."""
    web = site.web
    assert all(character == "\n" or " " <= character <= "~" for character in block.content), "a control character"
    (server,) = _parsed(block.content)
    assert server["directive"] == "server", "the file holds one server block and nothing beside it"
    assert _names([server]) <= _VOCABULARY
    inside = server["block"]
    assert _all(inside, "server_name") == [[domain] for domain in site.domains]
    headers = [one["args"] for one in inside if one["directive"] == "add_header"]
    assert headers == [[header.name, header.value, "always"] for header in web.headers]
    targets = {answer[1] for answer in _all(inside, "return") if len(answer) == 2}
    assert {one for one in targets if not one.endswith("$1$is_args$args")} == {str(one.to) for one in web.redirects}
    places = [location["args"] for location in inside if location["directive"] == "location"]
    assert len({tuple(place) for place in places}) == len(places), "nginx refuses two locations of one name"
    listed = {address for rule in web.rules for address in rule.addresses}
    assert {args[0] for args in _all(inside, "allow")} - {"all", "127.0.0.1", "::1"} <= listed
    assert {args[0] for args in _all(inside, "auth_basic")} - {"off"} <= {str(auth.realm) for auth in web.basic_auth}
    assert all(len(args) == 1 and args[0].startswith("http://unix:") for args in _all(inside, "proxy_pass"))


def _parsed(text: str) -> list[dict[str, Any]]:
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"http {{\n{text}}}\n")
        file.flush()
        parsed = crossplane.parse(file.name, single=True, strict=True)
    assert parsed["errors"] == [], "nginx could not read it"
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


def _names(directives: list[dict[str, Any]]) -> set[str]:
    return {one["directive"] for one in directives}.union(*(_names(one.get("block", [])) for one in directives))
