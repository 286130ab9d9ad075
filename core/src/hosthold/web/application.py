"""The ASGI application: what every request passes, whatever answers it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import structlog

from hosthold.web import csrf, documentation, health
from hosthold.web.dispatch import perform, stream
from hosthold.web.headers import NO_STORE, AllowedHosts, StandingHeaders
from hosthold.web.operation import Operation
from hosthold.web.platform import Platform
from hosthold.web.problems import INTERNAL, MEDIA_TYPE, WRONG_HOST, HttpProblem, problem_of
from hosthold.web.request import Answer, Message, Receive, Request, Scope, Send
from hosthold.web.routes import Routes

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

log = structlog.get_logger()


class Application:
    """Answers the API itself, and hands everything else to the panel with headers, limits and origin checked."""

    def __init__(self, platform: Platform, routes: Routes, panel: ASGIApp) -> None:
        self.platform = platform
        self._routes = routes
        self._panel = panel
        self._headers = StandingHeaders(platform.settings)
        self._hosts = AllowedHosts(platform.settings)
        self._documentation = documentation.Documentation(platform.settings, routes.operations)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(Request(scope, receive), send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, request: Request, send: Send) -> None:
        started = time.perf_counter()
        name = "other"
        try:
            if not self._hosts.allows(request.text(b"host")):
                raise HttpProblem(WRONG_HOST, "This host name is not served here.")
            if request.path.startswith("/api/v1/"):
                found, values = self._routes.find(request.method, request.path)
                name = found.name
                if found.streams:
                    await self._stream(found, request, values, send)
                    return
                answer = await perform(found, self.platform, request, values)
            elif request.path.startswith("/api/"):
                name = "documentation"
                answer = self._documentation.answer(request)
            elif request.path.startswith("/health/") or request.path == "/metrics":
                name = "health"
                answer = await health.answer(self.platform, request)
            else:
                name = "panel"
                await self._to_panel(request, send)
                return
        except Exception as error:
            answer = self._problem(error, request, name)
        common = self._headers.page if answer.content_type.startswith(b"text/") else self._headers.data
        await answer.send(request, send, common)
        self.platform.metrics.answered(name, answer.status, time.perf_counter() - started)

    def _problem(self, error: Exception, request: Request, name: str) -> Answer:
        problem = problem_of(error)
        if problem.kind is INTERNAL:
            log.error("request failed", request=request.id, operation=name, method=request.method, exc_info=error)
        return Answer(problem.kind.status, problem.json(request.id), MEDIA_TYPE, list(problem.headers))

    async def _stream(self, operation: Operation, request: Request, values: dict[str, str], send: Send) -> None:
        chunks = await stream(operation, self.platform, request, values)
        headers = [
            *self._headers.data,
            (b"content-type", b"text/event-stream"),
            (b"x-accel-buffering", b"no"),
            (b"x-request-id", request.id.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        relay = asyncio.create_task(_relay(chunks, send))
        gone = asyncio.create_task(_until_gone(request))
        try:
            await asyncio.wait((relay, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (relay, gone):
                task.cancel()
            await asyncio.gather(relay, gone, return_exceptions=True)

    async def _to_panel(self, request: Request, send: Send) -> None:
        if not request.is_safe:
            csrf.require_own_origin(request, self.platform.settings.public_url)
        standing = [*self._headers.page, (b"x-request-id", request.id.encode())]

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {header[0].lower() for header in given}
                added = [header for header in (*standing, NO_STORE) if header[0] not in names]
                message = {**message, "headers": [*given, *added]}
            await send(message)

        await self._panel(request.scope, request.receive, with_headers)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self.platform.feed.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _relay(chunks: AsyncGenerator[bytes, None], send: Send) -> None:
    async with aclosing(chunks):
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
