"""Web options as a hostile customer would send them: whatever the types accept of them, a driver must stand."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from pydantic import ValidationError

from hosthold_sdk import WebOptions

HOSTILE = (
    "a;b", "a{b", "}", "$host", "a b", "a\nb", 'a"b', "a'b", "\\", "a\0b", "#", "é", "%0d%0a", "`id`", "../x", "//x",
    "/./x",
)  # fmt: skip
"""What means something to one server or another: ends of values, of blocks, of lines, variables, comments, escapes."""

_PART = st.from_regex(r"[A-Za-z0-9._~@+=,-]{1,12}", fullmatch=True) | st.sampled_from(HOSTILE)
_PATH = st.lists(_PART, max_size=3).map(lambda parts: "/" + "/".join(parts))
_CHARACTERS = st.characters(min_codepoint=0, max_codepoint=255)
_VALUE = st.text(_CHARACTERS, min_size=1, max_size=40) | st.sampled_from(HOSTILE)
_NAME = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True) | st.sampled_from(HOSTILE)
_ADDRESS = st.sampled_from(["192.0.2.0/24", "2001:db8::1", *(f"fe80::%{zone}" for zone in HOSTILE)])
_USER = st.just({"name": "ann", "password_hash": "$6$saltsalt$" + "a" * 86})
_KINDS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "redirects": st.fixed_dictionaries(
        {
            "path": _PATH,
            "match": st.sampled_from(["exact", "prefix"]),
            "to": _PATH | _PATH.map("https://x.example".__add__) | _VALUE,
            "status": st.sampled_from([301, 302, 307, 308]),
        }
    ),
    "headers": st.fixed_dictionaries({"name": _NAME, "value": _VALUE}),
    "basic_auth": st.fixed_dictionaries(
        {"path": _PATH, "realm": st.sampled_from(["Staff only", *HOSTILE]), "users": st.tuples(_USER)}
    ),
    "rules": st.one_of(
        st.fixed_dictionaries({"path": _PATH, "access": st.sampled_from(["everybody", "nobody", "inherited"])}),
        st.fixed_dictionaries({"path": _PATH, "access": st.just("listed"), "addresses": st.tuples(_ADDRESS, _ADDRESS)}),
        st.fixed_dictionaries({"path": _PATH, "cache_seconds": st.integers(0, 31_536_000)}),
    ),
    "proxies": st.fixed_dictionaries({"path": _PATH, "socket": _PART, "websocket": st.booleans()}),
}


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


def web_options(*kinds: str) -> st.SearchStrategy[WebOptions]:
    """Options of these kinds, as a customer can have them; of all kinds, if none is named."""
    lists = {kind: st.lists(_KINDS[kind], max_size=4) for kind in kinds or _KINDS}
    return st.fixed_dictionaries(lists).map(
        lambda values: WebOptions.model_validate({kind: _accepted(kind, some) for kind, some in values.items()})
    )
