"""One HTTP request as the web layer sees it, and the answer to it. Nothing here knows an operation or a user."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from hosthold.web.problems import BODY_TIMEOUT, BODY_TOO_LARGE, INVALID_INPUT, MALFORMED, HttpProblem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

MAX_BODY = 1_048_576
"""Bytes that a request's body may have; uploads of files do not pass here."""
BODY_SECONDS = 15.0
"""Seconds within which the whole body must have arrived."""
MAX_QUERY_FIELDS = 50

JSON = b"application/json"


class Request:
    """A request. Of a header that is sent twice the last counts; names are lower case, as ASGI gives them."""

    __slots__ = ("client", "headers", "id", "method", "path", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        client = scope.get("client")
        self.client: str = client[0] if client else ""
        self.id: str = scope.setdefault("hosthold.request_id", os.urandom(8).hex())

    @property
    def is_safe(self) -> bool:
        """Whether the method changes nothing (RFC 9110, section 9.2.1)."""
        return self.method in ("GET", "HEAD", "OPTIONS")

    def text(self, name: bytes) -> str:
        """A header's value, or an empty string."""
        return self.headers.get(name, b"").decode("latin-1")

    def cookie(self, name: str) -> str | None:
        """The value of a cookie."""
        for part in self.text(b"cookie").split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                return value
        return None

    def query(self) -> dict[str, str]:
        """The query's parameters. Raises a problem if one is given twice or there are too many."""
        raw = self.scope["query_string"]
        if not raw:
            return {}
        try:
            pairs = parse_qsl(
                raw.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS, errors="strict"
            )
        except ValueError:
            raise HttpProblem(INVALID_INPUT, "The query string cannot be read.") from None
        found = dict(pairs)
        if len(found) != len(pairs):
            raise HttpProblem(INVALID_INPUT, "A query parameter is given more than once.")
        return found

    async def body(self) -> bytes:
        """The whole body. Raises a problem if it is too large, too slow, or broken off."""
        declared = self.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > MAX_BODY:
            raise _too_large()
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        raise HttpProblem(MALFORMED, "The body was broken off; nothing was changed.")
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    if size > MAX_BODY:
                        raise _too_large()
                    chunks.append(chunk)
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError:
            raise HttpProblem(BODY_TIMEOUT, f"The body did not arrive within {BODY_SECONDS:.0f} seconds.") from None


def _too_large() -> HttpProblem:
    return HttpProblem(
        BODY_TOO_LARGE,
        f"The body is larger than {MAX_BODY} bytes; nothing was changed.",
        headers=((b"connection", b"close"),),
    )


@dataclass(slots=True)
class Answer:
    """A whole answer, ready to be sent."""

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: list[Header] = field(default_factory=list)

    async def send(self, request: Request, send: Send, common: list[Header]) -> None:
        """Send it, with the headers that all answers of its sort have."""
        headers = [*common, *self.headers, (b"x-request-id", request.id.encode())]
        if self.status != 204:
            headers += [(b"content-type", self.content_type), (b"content-length", str(len(self.body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else self.body})
