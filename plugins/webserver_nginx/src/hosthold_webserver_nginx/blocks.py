"""The block of a site with web options of its own. Renders typed values; there is no field for text of nginx's own.

nginx's locations inherit nothing from one beside them, so each of ours says completely what holds in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from hosthold_sdk import (
    AbsolutePath,
    Access,
    BasicAuth,
    File,
    Link,
    Match,
    Node,
    NotSupported,
    Owner,
    PathRule,
    Proxy,
    Redirect,
    Resource,
    Site,
    UrlPath,
)

from .locations import (
    CHALLENGE_PATH,
    HIDDEN,
    HIDDEN_NAME,
    PING_PATH,
    ROUTE_PATH,
    SCRIPT,
    SCRIPT_NAME,
    STATIC,
    ConfigurationTemplate,
    filled,
    indented,
    location,
    render_locations,
    shared,
)

_OWN_PLACES = ("/.hosthold", CHALLENGE_PATH, PING_PATH, ROUTE_PATH)
_PLAIN = re.compile(r"[A-Za-z0-9 !#%&'()*+,./:;<=>?@_|~^`\[\]-]*")
_TO_PROGRAM = """\
proxy_pass http://unix:$host/proxy%{number};
proxy_http_version 1.1;
proxy_redirect off;
proxy_set_header Host $host$host_port;
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $remote_addr;
proxy_set_header X-Forwarded-Host $host$host_port;
proxy_set_header X-Forwarded-Proto $scheme;
expires off;
"""
_WEBSOCKET = """\
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $connection_upgrade;
proxy_read_timeout 3600s;
"""
T = TypeVar("T", BasicAuth, PathRule, Proxy)


def block_of(site: Site, node: Node, notifies: str) -> File | None:
    """The site's own block; `None` for one that is served by the block of all, and for one that serves nothing.

    Raises `NotSupported` for an option at a place that is the platform's own.
    """
    if site.web.is_standard or site.is_suspended:
        return None
    return File(
        path=node.layout.blocks.child(f"{site.name}.conf"),
        content=_render(site, node),
        owner=node.root,
        mode=0o644,
        notifies=notifies,
    )


def own_resources(site: Site, node: Node, serve: AbsolutePath) -> list[Resource]:
    """What the site's block reads: passwords, and links to the sockets of its programs."""
    return [
        *(
            File(
                path=serve.child(f"passwords{number}"),
                content="".join(f"{user.name}:{user.password_hash}\n" for user in place.users),
                owner=Owner(uid=node.root.uid, gid=node.web.gid),
                mode=0o640,
                is_secret=True,
            )
            for number, place in enumerate(site.web.basic_auth)
        ),
        *(
            Link(
                path=serve.child(f"proxy{number}"),
                target=node.layout.home(site.name).child(proxy.socket),
                owner=node.root,
            )
            for number, proxy in enumerate(site.web.proxies)
        ),
    ]


def listen_lines(node: Node, mark: str = "") -> str:
    """The addresses that a block listens on; `mark` says of the block of all that it is the default."""
    lines = f"        listen {node.listen.address}:{node.listen.port}{mark};\n"
    if node.listen.tls_port is not None:
        lines += f"        listen {node.listen.address}:{node.listen.tls_port} ssl http2{mark};\n"
    return lines


def _render(site: Site, node: Node) -> str:
    web = site.web
    places = {
        *(one.path for one in web.basic_auth),
        *(one.path for one in web.rules),
        *(one.path for one in web.proxies),
    }
    for path in (*places, *(redirect.path for redirect in web.redirects)):
        _refuse_own_place(path)
    headers = "".join(f"add_header {one.name} {_quoted(one.value)} always;\n" for one in web.headers)
    texts: dict[str, str] = {}
    for redirect in web.redirects:
        texts |= _redirected(redirect)
    for place in sorted({_place(path) for path in places} - {""}):
        texts = _locations_of(place, site, node) | texts
    everything = texts.pop("^~ /", None) or _program(site, "")
    own = "\n".join(location(match, text) for match, text in texts.items())
    common = render_locations(node, headers, everything)
    names = "".join(f"        server_name {domain};\n" for domain in site.domains)
    settings = indented(headers + _access(site, node, "") + _kept(site, ""), 8)
    return f"    server {{\n{listen_lines(node)}{names}{settings}{own}\n{common}    }}\n"


def _locations_of(place: str, site: Site, node: Node) -> dict[str, str]:
    """What holds at a path itself, and below it; the path is without the slash at its end."""
    access, kept, program = _access(site, node, place), _kept(site, place), _program(site, place)
    if program:
        return {f"= {place}": access + program, f"^~ {place}/": access + program}
    if re.search(HIDDEN_NAME, f"{place}/"):
        itself = kept + HIDDEN
    elif re.search(SCRIPT_NAME, place, re.IGNORECASE):
        itself = SCRIPT
    else:
        itself = kept + STATIC
    return {
        f"= {place}": access + filled(itself, node),
        f"^~ {place}/": f"{access}{kept}{STATIC}\n{shared(node, 0)}",
    }


def _redirected(redirect: Redirect) -> dict[str, str]:
    """The rest of a path is taken from the request as it came: decoded, it could hold the end of a header's line."""
    answer = f"return {redirect.status} {_quoted(redirect.to)};\n"
    if redirect.match is Match.exact:
        return {f"= {redirect.path}": answer}
    place, to = _place(redirect.path), _place(redirect.to)
    rest = (
        f'if ($request_uri ~ "^{re.escape(place)}/([^?]*)") {{\n'
        f'    return {redirect.status} "{_plain(to)}/$1$is_args$args";\n'
        "}\n"
    )
    return ({f"= {place}": answer} if place else {}) | {f"^~ {place}/": rest + answer}


def _access(site: Site, node: Node, place: str) -> str:
    """Who may ask for the place: what the nearest option above it says."""
    text = ""
    passwords = _nearest(place, site.web.basic_auth)
    if passwords is not None:
        number, hosts = site.web.basic_auth.index(passwords), node.layout.hosts
        text += f"auth_basic {_quoted(passwords.realm)};\nauth_basic_user_file {hosts}/$host/passwords{number};\n"
    access = _nearest(place, [rule for rule in site.web.rules if rule.access is not Access.inherited])
    if access is not None and access.access is not Access.everybody:
        text += "".join(f"allow {network};\n" for network in access.addresses) + "deny all;\n"
    elif access is not None:
        text += "allow all;\n"
    return text


def _kept(site: Site, place: str) -> str:
    """How long browsers may keep files of the place. What a program sends says so itself."""
    kept = _nearest(place, [rule for rule in site.web.rules if rule.cache_seconds is not None])
    if kept is None:
        return ""
    return f"expires {kept.cache_seconds}s;\n" if kept.cache_seconds else "expires -1;\n"


def _program(site: Site, place: str) -> str:
    """The lines that pass requests for the place to a program of the site's, if one is to answer them."""
    proxy = _nearest(place, site.web.proxies)
    if proxy is None:
        return ""
    lines = ConfigurationTemplate(_TO_PROGRAM).substitute(number=site.web.proxies.index(proxy))
    return lines + (_WEBSOCKET if proxy.websocket else 'proxy_set_header Connection "";\n')


def _nearest(place: str, options: Sequence[T]) -> T | None:
    above = [option for option in options if f"{place}/".startswith(f"{_place(option.path)}/")]
    return max(above, key=lambda option: len(_place(option.path)), default=None)


def _place(path: str) -> str:
    return path.rstrip("/")


def _refuse_own_place(path: UrlPath) -> None:
    for own in _OWN_PLACES:
        if f"{path}/".startswith(f"{own}/"):
            raise NotSupported(f"{path} is the platform's own; nothing was changed", hint="choose another path")


def _quoted(value: str) -> str:
    return f'"{_plain(value)}"'


def _plain(value: str) -> str:
    """The types refuse whatever means something to nginx inside quotes; this is where that is relied upon."""
    if not _PLAIN.fullmatch(value):
        raise NotSupported(f"{value!r} cannot be written into nginx's configuration; nothing was changed")
    return value
