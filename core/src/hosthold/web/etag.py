"""Versions of declared things: the `ETag` is the generation of the declaration, and `If-Match` guards edits with it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hosthold.web.problems import INVALID_INPUT, HttpProblem

_ETAG = re.compile(r'"([0-9]{1,18})"')


@dataclass(frozen=True, slots=True)
class IfMatch:
    """The generation that an edit expects; `None` if the caller does not care."""

    generation: int | None


def etag(generation: int) -> bytes:
    """The entity tag of a declaration's generation (RFC 9110, section 8.8.3)."""
    return b'"%d"' % generation


def if_match(value: str) -> IfMatch:
    """What an `If-Match` header asks for. Raises a problem unless it is empty, `*`, or one tag that we gave."""
    if value in ("", "*"):
        return IfMatch(None)
    found = _ETAG.fullmatch(value)
    if found is None:
        raise HttpProblem(
            INVALID_INPUT,
            'The header If-Match must be the ETag of an earlier answer, such as "3".',
            errors=[{"parameter": "If-Match", "detail": "is not an ETag of this platform"}],
        )
    return IfMatch(int(found[1]))
