"""From declared pages to routes: who may enter, where the work runs, and what a refusal looks like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

import structlog
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Match, Route

from hosthold.accounts.pages import PAGES as ACCOUNT_PAGES
from hosthold.auth.identity import Identity
from hosthold.drift.pages import PAGES as DRIFT_PAGES
from hosthold.errors import HostholdError, NotFound, NotPermitted
from hosthold.nodes.pages import PAGES as NODE_PAGES
from hosthold.packages.pages import PAGES as PACKAGE_PAGES
from hosthold.panel import sign_in
from hosthold.panel.page import SIGNED_IN, Page, Visit, read_form, theme_of
from hosthold.panel.plugin_pages import PAGES as PLUGIN_PAGES
from hosthold.panel.room import Room
from hosthold.panel.visitor_pages import PAGES as VISITOR_PAGES
from hosthold.sites.pages import PAGES as SITE_PAGES
from hosthold.web.csrf import FIELD, require_own_origin, require_token
from hosthold.web.platform import Platform
from hosthold.web.problems import METHOD_NOT_ALLOWED, NOT_AUTHENTICATED, HttpProblem, problem_of
from hosthold.web.request import Receive, Request, Scope, Send

_log = structlog.get_logger(__name__)
_DECLARED = (VISITOR_PAGES, SITE_PAGES, ACCOUNT_PAGES, PACKAGE_PAGES, NODE_PAGES, DRIFT_PAGES, PLUGIN_PAGES)


def make_routes(platform: Platform) -> list[Route]:
    """All routes of the panel, static files included; the last one answers for every path that nobody else has."""
    room = Room(platform)

    async def static(request: Request) -> Response:
        return room.assets.respond(request)

    routes = [
        Route("/static/{digest}/{name:path}", Endpoint(room, static), methods=["GET"]),
        *(Route(path, Endpoint(room, answer(room)), methods=[method]) for method, path, answer in sign_in.ROUTES),
        *(
            Route(page.path, Endpoint(room, _entrance(room, page)), methods=[page.method])
            for pages in _DECLARED
            for page in pages.declared
        ),
    ]
    return [*routes, Route("/{path:path}", Endpoint(room, _unknown(routes)))]


class Endpoint:
    """An ASGI application for one route: every refusal becomes a page."""

    def __init__(self, room: Room, answer: Callable[[Request], Awaitable[Response]]) -> None:
        self._room = room
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except Exception as error:
            response = await self._refusal(request, error)
        await response(scope, receive, send)

    async def _refusal(self, request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if not isinstance(error, HostholdError):
            _log.error("page failed", path=request.path, request_id=request.id, exc_info=error)
        identity = await self._room.authenticator.identify(request)
        if problem.kind is NOT_AUTHENTICATED and identity is None:
            return _to_sign_in(request)
        values = {
            "code": problem.kind.status,
            "title": problem.kind.title,
            "detail": problem.detail,
            "hint": problem.hint,
        }
        if problem.kind.status == 500:
            values["hint"] = f"Try again. If it fails again, tell the operator this identifier: {request.id}."
        if identity is not None and identity.csrf_token is not None:
            response = Visit(self._room, request, identity, {}).show("error.html", problem.kind.status, **values)
        else:
            response = HTMLResponse(
                self._room.render("error.html", {"theme": theme_of(request), "flash": "", **values}),
                problem.kind.status,
            )
        response.raw_headers.extend(problem.headers)
        return response


def _entrance(room: Room, page: Page) -> Callable[[Request], Awaitable[Response]]:
    runs_inline = room.database.dialect == "sqlite" and not page.is_slow

    async def enter(request: Request) -> Response:
        identity = await room.authenticator.identify(request)
        if identity is None or identity.csrf_token is None:
            return _to_sign_in(request)
        form = await _own_form(room, request, identity) if page.method == "POST" else {}
        if page.permission != SIGNED_IN and not identity.actor.may(page.permission):
            raise NotPermitted(
                f"This needs the permission {page.permission}.", hint="Ask who manages the account to give it to you."
            )
        visit = Visit(room, request, identity, form)
        return page.handler(visit) if runs_inline else await room.execution.wait(lambda: page.handler(visit))

    return enter


async def _own_form(room: Room, request: Request, identity: Identity) -> dict[str, str]:
    require_own_origin(request, room.settings.public_url)
    form = await read_form(request)
    require_token(form.pop(FIELD, ""), identity.csrf_token or "")
    return form


def _to_sign_in(request: Request) -> Response:
    target = f"/sign-in?next={quote(request.path)}" if request.method == "GET" and request.path != "/" else "/sign-in"
    if request.text(b"hx-request"):
        return Response(status_code=401, headers={"HX-Redirect": "/sign-in"})
    return RedirectResponse(target, 303)


def _unknown(routes: list[Route]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        allowed = {
            method
            for route in routes
            if route.matches(request.scope)[0] is Match.PARTIAL
            for method in route.methods or ()
        }
        if allowed:
            raise HttpProblem(
                METHOD_NOT_ALLOWED,
                "This page does not know what to do with such a request.",
                headers=((b"allow", ", ".join(sorted(allowed)).encode()),),
            )
        raise NotFound("There is no such page.", hint="It may have been deleted, or the address may be mistyped.")

    return answer
