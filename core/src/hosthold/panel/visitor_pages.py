"""What everybody who is signed in can do, whatever their role: go to the start, choose an appearance, sign out."""

from __future__ import annotations

from starlette.responses import Response

from hosthold.auth.service import end_session
from hosthold.panel.page import SIGNED_IN, THEME_COOKIE, THEMES, Pages, Visit, local_path

PAGES = Pages()
_YEAR = 365 * 24 * 3600


@PAGES.get("/", permission=SIGNED_IN)
def start(visit: Visit) -> Response:
    """The first room that the visitor may enter."""
    entries = visit.room.menu.entries(visit.actor)
    return visit.go(entries[0].path) if entries else visit.show("nothing.html")


@PAGES.post("/theme", permission=SIGNED_IN)
def choose_theme(visit: Visit) -> Response:
    """Keep the chosen appearance in this browser."""
    response = visit.go(local_path(visit.form.get("next", "/")))
    theme = visit.form.get("theme", "")
    if theme in THEMES:
        response.set_cookie(THEME_COOKIE, theme, max_age=_YEAR, path="/", httponly=True, samesite="lax")
    else:
        response.delete_cookie(THEME_COOKIE, path="/", httponly=True, samesite="lax")
    return response


@PAGES.post("/sign-out", permission=SIGNED_IN)
def sign_out(visit: Visit) -> Response:
    """End the session here and on the server."""
    with visit.write() as uow:
        end_session(uow, visit.identity.credential)
    visit.room.authenticator.forget(visit.identity.credential)
    response = visit.go("/sign-in", "signed-out")
    response.raw_headers.append(visit.room.authenticator.expired_cookie())
    return response
