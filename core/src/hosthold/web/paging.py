"""Pages of lists: an opaque cursor, and a link to the next page (RFC 8288)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from hosthold.web.problems import INVALID_INPUT, HttpProblem

T = TypeVar("T")

DEFAULT_LIMIT = 25
MAX_LIMIT = 100
_KEY = re.compile(r"[0-9A-Za-z:._-]{1,200}")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is asked for: at most `limit` items, after the one that `cursor` names to the service."""

    limit: int
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page: its items, shaped as views or as ready JSON values, and the service's key of the next page."""

    items: Sequence[T] | Sequence[dict[str, Any]]
    next_key: str | None


def page_request(query: dict[str, str]) -> PageRequest:
    """The page that a query asks for; takes its parameters out of `query`. Raises a problem for what cannot be."""
    limit = query.pop("limit", "")
    if limit and not (limit.isascii() and limit.isdigit() and len(limit) < 4 and 1 <= int(limit) <= MAX_LIMIT):
        raise _invalid("limit", f"must be a whole number from 1 to {MAX_LIMIT}")
    cursor = query.pop("cursor", None)
    return PageRequest(int(limit) if limit else DEFAULT_LIMIT, None if cursor is None else _decode(cursor))


def encode_cursor(key: str) -> str:
    """The opaque cursor that stands for a service's key."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def next_link(path: str, query: dict[str, str], cursor: str) -> str:
    """The `Link` header that leads to the next page of the same list."""
    return f'<{path}?{urlencode({**query, "cursor": cursor})}>; rel="next"'


def _decode(cursor: str) -> str:
    try:
        key = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        key = ""
    if not _KEY.fullmatch(key):
        raise _invalid("cursor", "was not given by this list; follow the Link header, or start without a cursor")
    return key


def _invalid(name: str, detail: str) -> HttpProblem:
    return HttpProblem(
        INVALID_INPUT, f"The parameter {name!r} cannot be accepted.", errors=[{"parameter": name, "detail": detail}]
    )
