"""Cross-site request forgery: what a signed-in browser must send with everything that changes something."""

from __future__ import annotations

from hmac import compare_digest
from urllib.parse import urlsplit

from hosthold.web.problems import CROSS_SITE, HttpProblem
from hosthold.web.request import Request

HEADER = b"x-csrf-token"
FIELD = "csrf_token"


def origin_of(url: str) -> str:
    """Scheme, host and port of an address, as browsers write origins; empty if it is none."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.scheme and parts.netloc else ""


def require_own_origin(request: Request, public_url: str) -> None:
    """Refuse a request that another origin caused: another host, another port, or `null`.

    A browser sends `Origin` with every POST; `Referer` is looked at where it does not. A request with neither is left
    to the token.
    """
    origin = request.text(b"origin").lower()
    referer = request.text(b"referer")
    claimed = origin or (origin_of(referer) if referer else None)
    if claimed is not None and claimed != origin_of(public_url):
        raise HttpProblem(
            CROSS_SITE,
            "The request comes from another origin than the panel's; nothing was changed.",
            hint=f"Open the panel at {public_url}, and try again there.",
        )


def require_token(sent: str, expected: str) -> None:
    """Refuse a request without the session's own token."""
    if not compare_digest(sent.encode(errors="replace"), expected.encode()):
        raise HttpProblem(
            CROSS_SITE,
            "The request lacks the session's CSRF token; nothing was changed.",
            hint="Load the page again, and repeat what you did.",
        )
