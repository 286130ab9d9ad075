"""What a site with web options of its own adds before the handling of all sites. There is no field for Caddy's text.

Caddy expands what stands between braces, so nothing with a brace is written: neither here nor by the types.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from hosthold_sdk import Access, File, Match, Node, NotSupported, PathRule, Proxy, Redirect, Site

from .configuration import CHALLENGE_PATH, LONGEST_SOCKET_PATH, PING_PATH, ROUTE_PATH, expression

_OWN_PLACES = ("/.hosthold", CHALLENGE_PATH, PING_PATH, ROUTE_PATH)
_PLAIN = re.compile(r"[A-Za-z0-9 !#%&'()*+,./:;<=>?@_|~^`\[\]-]*")
T = TypeVar("T", bound=PathRule | Proxy | Redirect)


def block_of(site: Site, node: Node, notifies: str) -> File | None:
    """The site's own block; `None` for one that asks for nothing special, and for one that serves nothing.

    Raises `NotSupported` for an option that Caddy has not, or at a place that is the platform's own.
    """
    if site.web.is_standard or site.is_suspended:
        return None
    return File(
        path=node.layout.blocks.child(f"{site.name}.caddy"),
        content=_render(site, node),
        owner=node.root,
        mode=0o644,
        notifies=notifies,
    )


def _render(site: Site, node: Node) -> str:
    web = site.web
    if web.basic_auth:
        raise NotSupported(
            "Caddy cannot check passwords that are hashed with SHA-512, so it protects no path; nothing was changed",
            hint="let the application ask for the password, or use a node with nginx",
        )
    for path in (option.path for options in (web.redirects, web.rules, web.proxies) for option in options):
        _refuse_own_place(path)
    lines = [f"header +{one.name} {_quoted(one.value)}" for one in web.headers]
    exact = [one for one in web.redirects if one.match is Match.exact]
    prefixes = [one for one in web.redirects if one.match is Match.prefix]
    for number, redirect in enumerate((*exact, *_deepest_first(prefixes))):
        lines += _redirected(f"{site.name}_to{number}", redirect)
    lines += _choice(f"{site.name}_may", [rule for rule in web.rules if rule.access is not Access.inherited], _access)
    lines += _choice(f"{site.name}_kept", [rule for rule in web.rules if rule.cache_seconds is not None], _kept)
    lines += _choice(f"{site.name}_proxy", web.proxies, lambda proxy: _program(site, node, proxy))
    body = "".join(f"\t{line}\n" for line in lines)
    return f"@{site.name} host {' '.join(site.domains)}\nroute @{site.name} {{\n{body}}}\n"


def _redirected(name: str, redirect: Redirect) -> list[str]:
    """The rest of a path is taken from the request as it came, its query included."""
    if redirect.match is Match.exact:
        return [
            f'@{name} path_regexp "^{expression(_plain(redirect.path))}$"',
            f"redir @{name} {_quoted(redirect.to)} {redirect.status}",
        ]
    place, to = redirect.path.rstrip("/"), redirect.to.rstrip("/")
    return [
        f"@{name}r {{",
        f"\tpath_regexp {_below(place)}",
        f'\tvars_regexp {name} {{http.request.orig_uri}} "^{expression(place)}/(.*)$"',
        "}",
        f'redir @{name}r "{_plain(to)}/{{http.regexp.{name}.1}}" {redirect.status}',
        f"@{name} path_regexp {_below(place)}",
        f"redir @{name} {_quoted(redirect.to)} {redirect.status}",
    ]


def _choice(name: str, options: Sequence[T], lines_of: Callable[[T], list[str]]) -> list[str]:
    """What the nearest option above a path says of it, and no other. Inside of a `handle` only the first counts."""
    lines: list[str] = []
    for number, option in enumerate(_deepest_first(options)):
        lines.append(f"\t@{name}{number} path_regexp {_below(option.path.rstrip('/'))}")
        lines += [f"\thandle @{name}{number} {{", *(f"\t\t{line}" for line in lines_of(option)), "\t}"]
    return ["handle {", *lines, "}"] if lines else []


def _access(rule: PathRule) -> list[str]:
    if rule.access is Access.listed:
        return [f"@others not remote_ip {' '.join(rule.addresses)}", "error @others 403"]
    return ["error 403"] if rule.access is Access.nobody else []


def _kept(rule: PathRule) -> list[str]:
    """How long browsers may keep files. What a program sends says so itself."""
    return [f'vars kept "{f"max-age={rule.cache_seconds}" if rule.cache_seconds else "no-cache"}"']


def _program(site: Site, node: Node, proxy: Proxy) -> list[str]:
    """The way to the program's socket begins at the folder of hosts: an address has little room."""
    socket = posixpath.relpath(node.layout.home(site.name).child(proxy.socket), node.layout.hosts)
    if len(socket) > LONGEST_SOCKET_PATH:
        raise NotSupported(
            f"the path of the socket {proxy.socket} is too long; nothing was changed", hint="use a shorter path"
        )
    return [
        *(() if proxy.websocket else ("request_header -Upgrade",)),
        f"reverse_proxy {_quoted(f'unix/{socket}')} {{",
        "\theader_up X-Real-IP {http.request.remote.host}",
        "}",
    ]


def _deepest_first(options: Sequence[T]) -> list[T]:
    return sorted(options, key=lambda option: len(option.path.rstrip("/")), reverse=True)


def _below(place: str) -> str:
    """Matches the path itself and all that is below it; unlike Caddy's own, this is not about `/A` and `/a` alike."""
    return f'"^{expression(_plain(place))}(/|$)"'


def _refuse_own_place(path: str) -> None:
    for own in _OWN_PLACES:
        if f"{path}/".startswith(f"{own}/"):
            raise NotSupported(f"{path} is the platform's own; nothing was changed", hint="choose another path")


def _quoted(value: str) -> str:
    return f'"{_plain(value)}"'


def _plain(value: str) -> str:
    """The types refuse whatever means something to Caddy inside quotes; this is where that is relied upon."""
    if not _PLAIN.fullmatch(value):
        raise NotSupported(
            f"{value!r} cannot be written into Caddy's configuration; nothing was changed",
            hint="leave out braces, quotes, dollar signs, backslashes, and whatever is not ASCII",
        )
    return value
