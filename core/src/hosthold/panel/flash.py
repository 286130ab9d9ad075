"""Flash messages: a cookie carries one word through a redirect, and the word stands for a text that is written here."""

from __future__ import annotations

from starlette.responses import Response

from hosthold.web.request import Request

COOKIE = "hosthold_flash"

MESSAGES = {
    "site-declared": "The site was declared. It comes online in a few moments.",
    "site-changed": "The change was saved. It takes effect in a few moments.",
    "site-suspended": "The site is suspended: visitors see a notice, and nothing of it is lost.",
    "site-resumed": "The site is served again in a few moments.",
    "site-restarting": "The site's processes are being restarted.",
    "site-repairing": "What was changed by hand is being overwritten.",
    "site-retried": "We try again now.",
    "site-deleting": "The site is being deleted.",
    "site-deleted": "The site was deleted.",
    "drift-gone": "That is as declared again.",
    "account-created": "The customer was added.",
    "package-created": "The package was made. Customers can be given it now.",
    "signed-out": "You are signed out.",
}


def take(request: Request) -> str:
    """The message that this visit shows once; empty if there is none."""
    return MESSAGES.get(request.cookie(COOKIE) or "", "")


def leave(response: Response, word: str) -> None:
    """Have the next page show a message."""
    assert word in MESSAGES, word
    response.set_cookie(COOKIE, word, max_age=30, path="/", httponly=True, samesite="lax")


def forget(response: Response) -> None:
    """Note that the message was shown."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
