"""Sites over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from hosthold.auth.identity import Identity
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.errors import DriverError, HostholdError, Unavailable
from hosthold.sites import listing, service, web_options
from hosthold.sites.bulk import declare_all
from hosthold.sites.logs import request_log
from hosthold.sites.planning import PATIENCE, SitePlanView, request_plan, request_repair, request_restart
from hosthold.sites.runtimes import RuntimesView, runtimes
from hosthold.sites.schema import SiteBatch, SiteBatchView, SiteChange, SiteDraft, SiteView
from hosthold.sites.usage import SiteUsageView, usage
from hosthold.sites.web_options import WebDraft, WebView
from hosthold.types.actor import Actor
from hosthold.types.identifier import Identifier, new_identifier
from hosthold.types.resource import LogCursor, LogName, LogPage, LogRequest
from hosthold.types.site import Condition
from hosthold.web.etag import IfMatch
from hosthold.web.operation import operation
from hosthold.web.paging import Page, PageRequest
from hosthold.web.platform import Platform
from hosthold.work.api import OperationView, find_operation
from hosthold.work.operations import DONE, FAILED, forget

_POLL_SECONDS = 0.05
_FOLLOW_SECONDS = 1.0


@operation("GET", "/sites", permission="site:read")
def list_sites(page: PageRequest, actor: Actor, uow: UnitOfWork) -> Page[SiteView]:
    """List sites, newest first."""
    rows, next_key = listing.page(uow, actor, page.limit, page.cursor)
    return Page([listing.shaped(row) for row in rows], next_key)


@operation("POST", "/sites", permission="site:create", status=202, location="/sites/{id}")
def create_site(body: SiteDraft, actor: Actor, uow: UnitOfWork) -> SiteView:
    """Declare a site; it comes online in the background."""
    return SiteView.of(service.declare(uow, actor, body))


@operation("POST", "/sites:batch", permission="site:create", status=202)
def create_sites(body: SiteBatch, actor: Actor, uow: UnitOfWork) -> SiteBatchView:
    """Declare up to 1,000 sites together: all of them, or none. They come online in the background."""
    return SiteBatchView(items=tuple(SiteView.of(row) for row in declare_all(uow, actor, body.sites)))


@operation("GET", "/sites/{site_id}", permission="site:read")
def read_site(site_id: Identifier, actor: Actor, uow: UnitOfWork) -> SiteView:
    """Read one site."""
    return SiteView.of(service.get(uow, actor, site_id))


@operation("PATCH", "/sites/{site_id}", permission="site:update", status=202)
def change_site(site_id: Identifier, body: SiteChange, if_match: IfMatch, actor: Actor, uow: UnitOfWork) -> SiteView:
    """Change what is declared of a site; what is left out stays as it is."""
    return SiteView.of(service.change(uow, actor, site_id, body, if_match.generation))


@operation("DELETE", "/sites/{site_id}", permission="site:delete", status=202)
def delete_site(site_id: Identifier, if_match: IfMatch, actor: Actor, uow: UnitOfWork) -> SiteView:
    """Delete a site with all its files; it can still be read until nothing of it is left."""
    return SiteView.of(service.delete(uow, actor, site_id, if_match.generation))


@operation("GET", "/runtimes", permission="site:read")
def list_runtimes(actor: Actor, uow: UnitOfWork) -> RuntimesView:
    """List the versions that nodes offer or sites use, newest first, and until when security holes are mended."""
    return runtimes(uow, actor)


@operation("GET", "/sites/{site_id}/usage", permission="site:read")
def read_usage(site_id: Identifier, actor: Actor, uow: UnitOfWork) -> SiteUsageView:
    """Read what a site holds on disk, beside what its package allows; nodes look at it every ten minutes or so."""
    return usage(uow, actor, site_id)


@operation("GET", "/sites/{site_id}/web", permission="site:read")
def read_web(site_id: Identifier, actor: Actor, uow: UnitOfWork) -> WebView:
    """Read what a site sets of its web server: redirects, headers, passwords, rules for paths, programs of its own."""
    return web_options.read(uow, actor, site_id)


@operation("PUT", "/sites/{site_id}/web", permission="site:update", status=202)
def replace_web(site_id: Identifier, body: WebDraft, if_match: IfMatch, actor: Actor, uow: UnitOfWork) -> WebView:
    """Set what a site sets of its web server, as a whole; a user without `password` keeps theirs."""
    return web_options.replace(uow, actor, site_id, body, if_match.generation)


@operation("POST", "/sites/{site_id}/suspend", permission="site:suspend", status=202)
def suspend_site(site_id: Identifier, actor: Actor, uow: UnitOfWork) -> SiteView:
    """Have the site answer 503 to everybody; nothing of it is lost."""
    return SiteView.of(service.suspend(uow, actor, site_id))


@operation("POST", "/sites/{site_id}/resume", permission="site:suspend", status=202)
def resume_site(site_id: Identifier, actor: Actor, uow: UnitOfWork) -> SiteView:
    """Serve a suspended site again."""
    return SiteView.of(service.resume(uow, actor, site_id))


@operation("POST", "/sites/{site_id}/retry", permission="site:update", status=202)
def retry_site(site_id: Identifier, actor: Actor, uow: UnitOfWork) -> SiteView:
    """Try at once to bring a site to its declared state, also one that failed for good."""
    return SiteView.of(service.retry(uow, actor, site_id))


@operation("POST", "/sites/{site_id}/repair", permission="site:update", status=202, location="/operations/{id}")
def repair_site(site_id: Identifier, actor: Actor, uow: UnitOfWork) -> OperationView:
    """Overwrite what was edited by hand on the node (`Drifted`) with what is declared."""
    return OperationView.of(request_repair(uow, actor, site_id, new_identifier()))


@operation("POST", "/sites/{site_id}/restart", permission="site:restart", status=202, location="/operations/{id}")
def restart_site(site_id: Identifier, actor: Actor, uow: UnitOfWork) -> OperationView:
    """Replace the processes that run the site's code; requests that are being answered are finished first."""
    return OperationView.of(request_restart(uow, actor, site_id, new_identifier()))


@operation("GET", "/sites/{site_id}/plan", permission="site:read")
async def plan_site(site_id: Identifier, actor: Actor, platform: Platform) -> SitePlanView:
    """Show what the site's node would change now, as a diff; nothing is changed."""
    asked = await platform.execution.write(lambda uow: request_plan(uow, actor, site_id, new_identifier()))
    return SitePlanView.model_validate(await _result_of(platform, actor, asked.id))


@operation("GET", "/sites/{site_id}/logs/{log}", permission="log:read")
async def read_log(
    site_id: Identifier,
    log: LogName,
    actor: Actor,
    platform: Platform,
    lines: Annotated[int, Field(ge=1, le=1000)] = 200,
    contains: Annotated[str, StringConstraints(max_length=200)] = "",
    after: LogCursor | None = None,
) -> LogPage:
    """Read the last lines of a log, or with `after`, the cursor of an earlier answer, those that were written since.

    `contains` leaves out lines without these characters. An answer holds 256 KiB at most.
    """
    wanted = LogRequest(log=log, lines=lines, contains=contains, after=after)
    return await _log_page(platform, actor, site_id, wanted)


@operation("GET", "/sites/{site_id}/logs/{log}/follow", permission="log:read", streams=True)
async def follow_log(
    site_id: Identifier,
    log: LogName,
    identity: Identity,
    platform: Platform,
    contains: Annotated[str, StringConstraints(max_length=200)] = "",
) -> AsyncGenerator[bytes, None]:
    """Follow a log as server-sent events: the last ten lines, then what is written, within two seconds or so.

    Each event's data is a JSON object with `lines` and `cursor`. It ends when the token is revoked.
    """
    first = await _log_page(platform, identity.actor, site_id, LogRequest(log=log, lines=10, contains=contains))
    return _followed(platform, identity, site_id, log, contains, first)


async def _followed(
    platform: Platform, identity: Identity, site_id: str, log: LogName, contains: str, page: LogPage
) -> AsyncGenerator[bytes, None]:
    while True:
        yield b"event: lines\ndata: %s\n\n" % page.model_dump_json().encode() if page.lines else b": nothing new\n\n"
        await asyncio.sleep(_FOLLOW_SECONDS)
        present = await platform.authenticator.is_still_valid(identity)
        if present is None or not present.actor.may("log:read") or platform.feed.is_closed:
            return
        wanted = LogRequest(log=log, lines=1000, contains=contains, after=page.cursor)
        try:
            page = await _log_page(platform, present.actor, site_id, wanted)
        except HostholdError as error:
            yield b"event: problem\ndata: %s\n\n" % json.dumps({"detail": error.detail, "hint": error.hint}).encode()
            return


async def _log_page(platform: Platform, actor: Actor, site_id: str, wanted: LogRequest) -> LogPage:
    asked = await platform.execution.write(lambda uow: request_log(uow, actor, site_id, wanted))
    try:
        return LogPage.model_validate(await _result_of(platform, actor, asked.id))
    finally:
        await platform.execution.write(lambda uow: forget(uow, asked.id))


async def _result_of(platform: Platform, actor: Actor, operation_id: str) -> Mapping[str, Any]:
    """What an operation that changes nothing gave. Raises `DriverError` for what became of it instead."""
    deadline = time.monotonic() + PATIENCE.total_seconds()
    while time.monotonic() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
        row = await platform.execution.read(lambda uow: find_operation(uow, actor, operation_id))
        if row.state == DONE:
            return row.result
        if row.state == FAILED:
            condition = Condition.model_validate(row.result["condition"])
            raise DriverError(condition.message, hint=condition.hint)
    raise Unavailable(
        "The worker did not answer in time; nothing was changed.",
        hint="Try again in a moment; if it stays so, run `hosthold doctor`.",
    )
