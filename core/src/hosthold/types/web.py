"""What a site may set of its web server: a closed list of typed options, never text of a configuration."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from hosthold.types.base import Frozen
from hosthold.types.text import Domain, RelativePath, ValidatedText

_PATH = re.compile(r"/(?:[A-Za-z0-9._~@+=,-]+(?:/[A-Za-z0-9._~@+=,-]+)*/?)?")
_QUERY = re.compile(r"[A-Za-z0-9._~@+=,&%/-]*")
_HEADER_VALUE = re.compile(r"[A-Za-z0-9 !#%&'()*+,./:;<=>?@_|~^`\[\]-]+")
_OWN_HEADERS = frozenset(
    (
        "connection", "content-encoding", "content-length", "content-range", "date", "keep-alive", "location",
        "retry-after", "server", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade", "www-authenticate",
    )
)  # fmt: skip


class UrlPath(ValidatedText):
    """The path of a request, such as `/shop/`: no `.`, `..` or empty part, no escapes, no query."""

    __slots__ = ()
    max_input_length = 512

    @classmethod
    def canonical(cls, value: str) -> str:
        if not _PATH.fullmatch(value):
            raise ValueError("is not a path such as /shop/ (letters, digits, ._~@+=,- and single slashes)")
        if any(part in (".", "..") for part in value.split("/")):
            raise ValueError("has a part that is '.' or '..'")
        return value


class RedirectTarget(ValidatedText):
    """Where a redirect leads: a path of the same site, or an address that begins with http:// or https://."""

    __slots__ = ()
    max_input_length = 1024

    @classmethod
    def canonical(cls, value: str) -> str:
        scheme, host = "", ""
        rest = value
        if not value.startswith("/"):
            split = urlsplit(value)
            if split.scheme not in ("http", "https") or split.hostname is None or split.username is not None:
                raise ValueError("is neither a path nor an address such as https://example.com/shop")
            port = f":{split.port}" if split.port else ""
            scheme, host = split.scheme, f"{Domain(split.hostname)}{port}"
            rest = value[value.index("//") + 2 :]
            rest = rest[rest.index("/") :] if "/" in rest else "/"
        path, has_query, query = rest.partition("?")
        if not _QUERY.fullmatch(query):
            raise ValueError("has a query with other characters than letters, digits and ._~@+=,&%/-")
        path = UrlPath(path)
        return f"{scheme}://{host}{path}{has_query}{query}" if scheme else f"{path}{has_query}{query}"


class Match(StrEnum):
    """Which requests a rule is about."""

    exact = "exact"
    """Exactly this path."""
    prefix = "prefix"
    """This path, and everything below it."""


class Redirect(Frozen):
    """Answers requests with the address of another page. A `prefix` redirect keeps what follows the prefix."""

    path: UrlPath
    match: Match = Match.exact
    to: RedirectTarget
    status: Annotated[int, Field(json_schema_extra={"enum": [301, 302, 307, 308]})] = 301

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.status not in (301, 302, 307, 308):
            raise ValueError("a redirect is answered with 301, 302, 307 or 308")
        if self.match is Match.prefix and "?" in self.to:
            raise ValueError("a redirect that keeps the rest of the path cannot have a query in its target")
        return self


def _allowed_header(value: str) -> str:
    if value.lower() in _OWN_HEADERS:
        raise ValueError(f"{value} is set by the server itself")
    return value


def _header_value(value: str) -> str:
    if not _HEADER_VALUE.fullmatch(value) or value != value.strip():
        raise ValueError('has a character that a header set here may not have: control, quote ("), $, {, }, \\')
    return value


HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$"), AfterValidator(_allowed_header)]
HeaderValue = Annotated[str, StringConstraints(min_length=1, max_length=2048), AfterValidator(_header_value)]


class Header(Frozen):
    """A header that every answer of the site bears (RFC 9110, section 5)."""

    name: HeaderName
    value: HeaderValue


class BasicAuthUser(Frozen):
    """A name, and the hash of a password as crypt(3) makes it with SHA-512 (`$6$…`); never the password."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{1,64}$")]
    password_hash: Annotated[
        str, StringConstraints(pattern=r"^\$6\$(rounds=[0-9]{4,6}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}$")
    ]


class BasicAuth(Frozen):
    """Asks for a name and a password (RFC 7617) at a path and everything below it."""

    path: UrlPath = UrlPath("/")
    realm: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 ._-]{1,64}$")] = "Restricted"
    users: Annotated[tuple[BasicAuthUser, ...], Field(min_length=1, max_length=100)]


class Access(StrEnum):
    """Who may ask for a path."""

    inherited = "inherited"
    """Whoever may ask for the path above."""
    everybody = "everybody"
    nobody = "nobody"
    listed = "listed"
    """Only the addresses that the rule lists."""


def _network(value: str) -> str:
    if "%" in value:  # the zone of an IPv6 address may be any text at all (RFC 4007, section 11)
        raise ValueError("has a zone: only addresses that mean the same everywhere can be listed")
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ValueError("is not an address or a network such as 203.0.113.0/24") from None


class PathRule(Frozen):
    """What is different at a path and everything below it."""

    path: UrlPath
    access: Access = Access.inherited
    addresses: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Field(max_length=100)] = ()
    cache_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """For how long browsers may keep files without asking again; 0 forbids it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.access is Access.listed) != bool(self.addresses):
            raise ValueError("addresses belong to a rule with access 'listed', which needs one at least")
        return self


class Proxy(Frozen):
    """Passes requests of a path and everything below it to a program of the site's own, which listens on a socket.

    The socket lies in the site's home, so a site reaches no program but its own.
    """

    path: UrlPath
    socket: RelativePath
    """The Unix socket, relative to the home, such as `run/app.sock`."""
    websocket: bool = False


class WebOptions(Frozen):
    """All that a site may set of its web server. The default asks for nothing: such a site is served by the block that
    all standard sites share; any other site gets a block of its own."""

    redirects: Annotated[tuple[Redirect, ...], Field(max_length=200)] = ()
    headers: Annotated[tuple[Header, ...], Field(max_length=50)] = ()
    basic_auth: Annotated[tuple[BasicAuth, ...], Field(max_length=20)] = ()
    rules: Annotated[tuple[PathRule, ...], Field(max_length=100)] = ()
    proxies: Annotated[tuple[Proxy, ...], Field(max_length=20)] = ()

    @property
    def is_standard(self) -> bool:
        """Whether nothing is set."""
        return self == WebOptions()

    @model_validator(mode="after")
    def _check(self) -> Self:
        for what, names in (
            ("redirect", [(one.path, one.match) for one in self.redirects]),
            ("header", [one.name.lower() for one in self.headers]),
            ("place with a password", [one.path for one in self.basic_auth]),
            ("rule", [one.path for one in self.rules]),
            ("proxy", [one.path for one in self.proxies]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"there are two of one {what}: each path or name may be given once")
        return self
