"""Health: whether the process lives, whether it can serve, and what each part says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from sqlalchemy import text

from hosthold.db.migrate import behind
from hosthold.errors import HostholdError
from hosthold.plugins.record import PluginState
from hosthold.web.headers import host_name, is_loopback_address, is_loopback_name
from hosthold.web.metrics import MEDIA_TYPE
from hosthold.web.peer import uid_at
from hosthold.web.platform import Platform
from hosthold.web.problems import NOT_FOUND, HttpProblem
from hosthold.web.request import Answer, Request
from hosthold.work.keys import Keyring, key_file
from hosthold.work.queue import WORKER, open_queue

_PROXIED = (b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via")


async def answer(platform: Platform, request: Request) -> Answer:
    """The answer to `/health/live`, `/health/ready` or `/metrics`.

    Everybody may know whether the platform lives and is ready. Which part is not, and the metrics, are for programs of
    this machine that are not a site's, and for who has the permission `metrics:read`; to others `/metrics` does not
    exist.
    """
    match request.path:
        case "/health/live":
            return Answer(200, b'{"status":"alive"}')
        case "/health/ready":
            return await _ready(platform, await _may_see_details(platform, request))
        case "/metrics" if await _may_see_details(platform, request):
            body = await platform.execution.read(lambda uow: platform.metrics.render(uow, platform.feed.listeners))
            return Answer(200, body, MEDIA_TYPE)
    raise HttpProblem(NOT_FOUND, "There is nothing at this address.")


async def _may_see_details(platform: Platform, request: Request) -> bool:
    is_local = is_loopback_address(request.client) and is_loopback_name(host_name(request.text(b"host")))
    if is_local and not any(name in request.headers for name in _PROXIED) and _is_no_site(platform, request):
        return True
    identity = await platform.authenticator.identify(request)
    return identity is not None and identity.actor.may("metrics:read")


def _is_no_site(platform: Platform, request: Request) -> bool:
    """Whether the request comes from a program of this machine that does not run as the user of a site (S-07)."""
    node, client, server = platform.settings.node, request.scope.get("client"), request.scope.get("server")
    uid = uid_at(client, server) if client and server else None
    return uid is not None and not node.uid_first <= uid <= node.uid_last


async def _ready(platform: Platform, details: bool) -> Answer:
    parts = await platform.execution.wait(lambda: examine(platform))
    is_ready = all(part["status"] == "ok" for part in parts if part["required"])
    body: dict[str, Any] = {"status": "ready" if is_ready else "not ready"}
    if details:
        body["parts"] = parts
    return Answer(200 if is_ready else 503, orjson.dumps(body))


def examine(platform: Platform) -> list[dict[str, Any]]:
    """Each part with its status, and what a person can do. Plugins that are not required never make us unready."""
    parts = [
        _part("database", lambda: _database(platform)),
        _part("migrations", lambda: _migrations(platform)),
        _part("queue", lambda: _queue(platform)),
    ]
    for record in platform.registry.records:
        status = "ok" if record.state in (PluginState.ready, PluginState.disabled) else str(record.state)
        parts.append(
            {
                "part": f"{record.kind} {record.name}",
                "status": status,
                "required": False,
                "message": record.message,
                "hint": record.hint,
            }
        )
    return parts


def _part(name: str, check: Callable[[], None]) -> dict[str, Any]:
    try:
        check()
    except HostholdError as error:
        return {"part": name, "status": "failed", "required": True, "message": error.detail, "hint": error.hint}
    except Exception as error:  # each driver and store has its own; health must tell of it, not fail with it
        return {
            "part": name,
            "status": "failed",
            "required": True,
            "message": type(error).__name__,
            "hint": "Run `hosthold doctor`.",
        }
    return {"part": name, "status": "ok", "required": True, "message": "", "hint": ""}


def _database(platform: Platform) -> None:
    with platform.database.read() as uow:
        uow.connection.execute(text("SELECT 1"))


def _migrations(platform: Platform) -> None:
    late = behind(platform.database.engine, platform.registry)
    if late:
        raise HostholdError(f"The tables of {', '.join(late)} are older than the program.", hint="Run `hosthold init`.")


def _queue(platform: Platform) -> None:
    queue = open_queue(platform.settings, WORKER, Keyring.load(key_file(platform.settings, WORKER)))
    try:
        queue.storage.queue_size()
    finally:
        queue.storage.close()
