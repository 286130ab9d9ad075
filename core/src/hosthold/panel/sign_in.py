"""Signing in: with a password, or with a link that works once. Here nobody is signed in yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from hosthold.auth.service import OpenedSession, sign_in, use_sign_in_link
from hosthold.errors import NotAuthenticated, Rejected
from hosthold.panel import flash
from hosthold.panel.forms import Form
from hosthold.panel.page import local_path, read_form, theme_of
from hosthold.panel.room import Room
from hosthold.web.csrf import require_own_origin
from hosthold.web.problems import problem_of
from hosthold.web.request import Request

Answer = Callable[[Request], Awaitable[Response]]


def show_sign_in(room: Room) -> Answer:
    """The form for address and password."""

    async def answer(request: Request) -> Response:
        if await room.authenticator.identify(request) is not None:
            return RedirectResponse("/", 303)
        return _page(room, request, "sign_in.html", Form({}), next=local_path(request.query().get("next", "/")))

    return answer


def check_password(room: Room) -> Answer:
    """Open a session for who knows the password."""

    async def answer(request: Request) -> Response:
        require_own_origin(request, room.settings.public_url)
        form = await read_form(request)
        email, password, target = form.get("email", ""), form.get("password", ""), local_path(form.get("next", "/"))
        previous = room.authenticator.session_secret(request)
        try:
            opened = await room.execution.wait(
                lambda: sign_in(room.database, room.throttle, email, password, request.client, previous)
            )
        except Rejected as error:
            return _page(room, request, "sign_in.html", Form({"email": email}, error), error, next=target)
        return _welcome(room, opened, target)

    return answer


def show_link(room: Room) -> Answer:
    """What a sign-in link leads to. Looking does not use it up: mail programs look at links before people do."""

    async def answer(request: Request) -> Response:
        return _page(room, request, "sign_in_link.html", Form({}))

    return answer


def use_link(room: Room) -> Answer:
    """Open a session for the bearer of a link, once."""

    async def answer(request: Request) -> Response:
        require_own_origin(request, room.settings.public_url)
        secret = str(request.scope["path_params"]["secret"])
        previous = room.authenticator.session_secret(request)
        try:
            opened = await room.execution.write(lambda uow: use_sign_in_link(uow, secret, previous))
        except NotAuthenticated as error:
            return _page(room, request, "sign_in_link.html", Form({}, error), error)
        return _welcome(room, opened, "/")

    return answer


ROUTES: tuple[tuple[str, str, Callable[[Room], Answer]], ...] = (
    ("GET", "/sign-in", show_sign_in),
    ("POST", "/sign-in", check_password),
    ("GET", "/sign-in/link/{secret}", show_link),
    ("POST", "/sign-in/link/{secret}", use_link),
)


def _page(
    room: Room, request: Request, template: str, form: Form, error: Rejected | None = None, **values: Any
) -> Response:
    problem = problem_of(error) if error is not None else None
    content = room.render(template, {
        "csrf_field": Markup(""), "theme": theme_of(request), "flash": flash.take(request), "path": request.path,
        "form": form, **values,
    })  # fmt: skip
    response = HTMLResponse(content, problem.kind.status if problem else 200, {"Cache-Control": "no-store"})
    response.raw_headers.extend(problem.headers if problem else ())
    if flash.take(request):
        flash.forget(response)
    return response


def _welcome(room: Room, opened: OpenedSession, target: str) -> Response:
    response = RedirectResponse(target, 303)
    response.raw_headers.append(room.authenticator.session_cookie(opened.secret))
    return response
