"""Pages: how a noun declares them, and what a handler is given for one visit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl

from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from hosthold.auth.identity import Identity
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.errors import NotFound
from hosthold.panel import flash
from hosthold.panel.room import Room
from hosthold.types.actor import Actor
from hosthold.web.problems import INVALID_INPUT, HttpProblem
from hosthold.web.request import MAX_QUERY_FIELDS, Request

THEME_COOKIE = "hosthold_theme"
THEMES = ("light", "dark")
"""What the cookie may say; without one, pages follow the system."""

SIGNED_IN = ""
"""The permission of pages that are for everybody who is signed in."""

_IDENTIFIER = re.compile("[0-9a-f]{32}")

Handler = Callable[["Visit"], Response]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the core. What `is_slow` waits for more than a quick read, so it runs beside the event loop."""

    method: Literal["GET", "POST"]
    path: str
    permission: str
    handler: Handler
    is_slow: bool


class Pages:
    """The pages of one noun, in the order in which they are matched."""

    def __init__(self) -> None:
        self.declared: list[Page] = []

    def get(self, path: str, *, permission: str, is_slow: bool = False) -> Callable[[Handler], Handler]:
        """Declare a page that shows something and changes nothing."""
        return self._declare("GET", path, permission, is_slow)

    def post(self, path: str, *, permission: str) -> Callable[[Handler], Handler]:
        """Declare what a form does; it may wait for the database's writer."""
        return self._declare("POST", path, permission, True)

    def _declare(
        self, method: Literal["GET", "POST"], path: str, permission: str, is_slow: bool
    ) -> Callable[[Handler], Handler]:
        def declare(handler: Handler) -> Handler:
            self.declared.append(Page(method, path, permission, handler, is_slow))
            return handler

        return declare


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who is signed in; `form` holds what a form sent."""

    room: Room
    request: Request
    identity: Identity
    form: Mapping[str, str]

    @property
    def actor(self) -> Actor:
        """Who asks."""
        return self.identity.actor

    @property
    def cursor(self) -> str | None:
        """Where the list goes on; nothing for its first page."""
        cursor = self.request.query().get("cursor", "")
        return cursor if _IDENTIFIER.fullmatch(cursor) else None

    def parameter(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.scope["path_params"][name])

    def identifier(self, name: str) -> str:
        """A part of the path that identifies a row. Raises `NotFound` if it cannot be one."""
        value = self.parameter(name)
        if not _IDENTIFIER.fullmatch(value):
            raise NotFound("There is no such page.", hint="Check the address.")
        return value

    def read(self) -> AbstractContextManager[UnitOfWork]:
        """A unit of work that only reads."""
        return self.room.database.read()

    def write(self) -> AbstractContextManager[UnitOfWork]:
        """A unit of work that writes; committed at its end."""
        return self.room.database.write()

    def show(self, template: str, status: int = 200, **values: Any) -> Response:
        """The page made of a template, with everything that the layout needs."""
        message = flash.take(self.request)
        path = self.request.path
        content = self.room.render(
            template,
            {
                "csrf_field": csrf_field(self.identity.csrf_token or ""),
                "menu": self.room.menu.entries(self.actor),
                "counts": {"/drift": self.room.drift_count(self.actor)},
                "section": section(path),
                "path": path,
                "account_name": self.room.account_name(self.actor),
                "actor_label": self.actor.label,
                "theme": theme_of(self.request),
                "flash": message,
                **values,
            },
        )
        response = HTMLResponse(content, status)
        if message:
            flash.forget(response)
        return response

    def go(self, path: str, word: str = "") -> Response:
        """A redirect to another page, after a form did its work; `word` chooses the message shown there."""
        response = RedirectResponse(path, 303)
        if word:
            flash.leave(response, word)
        return response


def csrf_field(token: str) -> Markup:
    """The hidden field that proves that a form is ours (S-40)."""
    return Markup('<input type="hidden" name="csrf_token" value="{}">').format(token)


def theme_of(request: Request) -> str:
    """The appearance that the visitor chose; empty if it follows the system."""
    theme = request.cookie(THEME_COOKIE)
    return theme if theme is not None and theme in THEMES else ""


def section(path: str) -> str:
    """Which entry of the navigation a page belongs to: the first part of the path, or all of a plugin's page."""
    return path if path.startswith("/x/") else "/" + path.split("/", 2)[1]


def local_path(wanted: str) -> str:
    """A path on this host, for redirects; the start page for anything else, so that nobody is sent elsewhere."""
    is_local = wanted.startswith("/") and not wanted.startswith("//") and wanted.isprintable() and "\\" not in wanted
    return wanted if is_local else "/"


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form. Raises a problem if there are too many.

    What cannot be read is left out: the form's own rules then say what is missing.
    """
    body = await request.body()
    try:
        pairs = parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise HttpProblem(INVALID_INPUT, "The form has too many fields; nothing was changed.") from None
    return dict(pairs)
