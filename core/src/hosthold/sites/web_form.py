"""The form of a site's web options: one text per kind with one option a line, as people write them down."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hosthold.errors import FieldError, InvalidInput
from hosthold.panel.forms import parse
from hosthold.sites.web_options import WebDraft, WebView
from hosthold.types.web import Access, Match

KINDS = ("redirects", "headers", "basic_auth", "rules", "proxies")
PLACES = {f"/{kind}": kind for kind in KINDS}
_REFUSED = "The options were not changed."


def values_of(view: WebView) -> dict[str, str]:
    """The texts that stand for what is set."""
    return {
        "generation": str(view.generation),
        "redirects": _lines(
            f"{each.path}{'*' if each.match is Match.prefix else ''} {each.to} {each.status}" for each in view.redirects
        ),
        "headers": _lines(f"{each.name}: {each.value}" for each in view.headers),
        "basic_auth": _lines(f"{place.path} {user}" for place in view.basic_auth for user in place.users),
        "rules": _lines(
            " ".join(
                filter(
                    None,
                    (
                        each.path,
                        ",".join(each.addresses) if each.access is Access.listed else _word(each.access),
                        "" if each.cache_seconds is None else f"keep={each.cache_seconds}",
                    ),
                )
            )
            for each in view.rules
        ),
        "proxies": _lines(
            f"{each.path} {each.socket}{' websocket' if each.websocket else ''}" for each in view.proxies
        ),
    }


def draft_of(form: dict[str, str], realms: dict[str, str]) -> WebDraft:
    """The draft that the texts stand for; `realms` are the titles of places that ask for a password already.

    Raises `InvalidInput` with the number of each line that is not understood.
    """
    errors: list[FieldError] = []

    def read(kind: str, act: Callable[[str], dict[str, Any]]) -> list[dict[str, Any]]:
        found = []
        for number, line in enumerate(form.get(kind, "").splitlines(), 1):
            if line.strip():
                try:
                    found.append(act(line.strip()))
                except ValueError as error:
                    errors.append(FieldError(f"/{kind}", f"Line {number}: {error}."))
        return found

    values = {
        "redirects": read("redirects", _redirect),
        "headers": read("headers", _header),
        "basic_auth": _grouped(read("basic_auth", _user), realms),
        "rules": read("rules", _rule),
        "proxies": read("proxies", _proxy),
    }
    if errors:
        raise InvalidInput(_REFUSED, errors, hint="Correct the marked lines.")
    try:
        return parse(WebDraft, values, _REFUSED)
    except InvalidInput as error:
        raise InvalidInput(error.detail, [_numbered(field) for field in error.errors], hint=error.hint) from None


def _numbered(field: FieldError) -> FieldError:
    """An error of an option with the number of its line, as far as no line is empty."""
    _, kind, *rest = field.pointer.split("/")
    where = f"Line {int(rest[0]) + 1}: " if rest and rest[0].isdecimal() and kind != "basic_auth" else ""
    return FieldError(f"/{kind}", f"{where}{field.detail}")


def _redirect(line: str) -> dict[str, Any]:
    words = line.split()
    if len(words) not in (2, 3) or (len(words) == 3 and not words[2].isdecimal()):
        raise ValueError("write a path, where it leads, and 301, 302, 307 or 308 if you like: /old /new 301")
    path = words[0]
    match = Match.prefix if path.endswith("*") else Match.exact
    status = {"status": int(words[2])} if len(words) == 3 else {}
    return {"path": path.removesuffix("*"), "match": match, "to": words[1], **status}


def _header(line: str) -> dict[str, Any]:
    name, colon, value = line.partition(":")
    if not colon:
        raise ValueError("write a name, a colon and a value: X-Frame-Options: DENY")
    return {"name": name.strip(), "value": value.strip()}


def _user(line: str) -> dict[str, Any]:
    words = line.split(None, 2)
    if len(words) < 2:
        raise ValueError("write a path, a name and a password: /admin ann a-long-password")
    return {"path": words[0], "name": words[1], "password": words[2] if len(words) == 3 else None}


def _grouped(users: list[dict[str, Any]], realms: dict[str, str]) -> list[dict[str, Any]]:
    places: dict[str, list[dict[str, Any]]] = {}
    for user in users:
        places.setdefault(user.pop("path"), []).append(user)
    return [
        {"path": path, "users": some, **({"realm": realms[path]} if path in realms else {})}
        for path, some in places.items()
    ]


def _rule(line: str) -> dict[str, Any]:
    path, *words = line.split()
    rule: dict[str, Any] = {"path": path}
    for word in words:
        if word.startswith("keep=") and word[5:].isdecimal():
            rule["cache_seconds"] = int(word[5:])
        elif word in (Access.nobody, Access.everybody):
            rule["access"] = word
        else:
            rule["access"], rule["addresses"] = Access.listed, tuple(word.split(","))
    if not words:
        raise ValueError("write a path and nobody, everybody, addresses or keep=SECONDS: /private 203.0.113.0/24")
    return rule


def _proxy(line: str) -> dict[str, Any]:
    words = line.split()
    if len(words) not in (2, 3) or words[2:] not in ([], ["websocket"]):
        raise ValueError("write a path and a socket in the site's home, and websocket if you like: /app run/app.sock")
    return {"path": words[0], "socket": words[1], "websocket": len(words) == 3}


def _lines(each: Iterable[str]) -> str:
    return "\n".join(each)


def _word(access: Access) -> str:
    return "" if access is Access.inherited else access.value
