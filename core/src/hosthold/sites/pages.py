"""The panel's pages of sites."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson
from markupsafe import Markup, escape
from starlette.responses import Response

from hosthold.accounts import service as accounts
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.drift import service as drift
from hosthold.drift.service import DriftView
from hosthold.errors import FieldError, InvalidInput, NotFound, PreconditionFailed, Rejected
from hosthold.nodes import service as nodes
from hosthold.panel.forms import Form, status_of
from hosthold.panel.page import Pages, Visit
from hosthold.panel.room import Room
from hosthold.panel.text import date_text, diff_lines, unicode_form
from hosthold.sites import form as site_form
from hosthold.sites import service, web_form, web_options
from hosthold.sites.actions import ACTIONS, Action, offered
from hosthold.sites.listing import SiteListRow, page
from hosthold.sites.logs import request_log
from hosthold.sites.models import SiteRow
from hosthold.sites.planning import PLAN, SitePlanView, request_plan
from hosthold.sites.runtimes import support_of
from hosthold.sites.usage import usage
from hosthold.sites.web_options import WebView
from hosthold.types.identifier import new_identifier
from hosthold.types.resource import LogName, LogPage, LogRequest
from hosthold.types.site import Phase
from hosthold.work.api import find_operation
from hosthold.work.models import OperationRow
from hosthold.work.operations import DONE, FAILED, READ_LOG, forget

PAGES = Pages()
PAGE_SIZE = 25
_SETTLED = (Phase.ready, Phase.failed)
_NOTHING = Markup()
_NOTE = Markup(' <span class="domain-note">{}</span>')
_STEPS = ("Declared", "Being built on its node", "Online")


@PAGES.get("/sites", permission="site:read")
def list_sites(visit: Visit) -> Response:
    """The sites that the visitor reaches, newest first."""
    cursor = visit.cursor
    with visit.read() as uow:
        rows, next_cursor = page(uow, visit.actor, PAGE_SIZE, cursor)
    return visit.show(
        "sites/list.html",
        rows=_cells(visit.room, rows),
        cursor=cursor,
        next_cursor=next_cursor,
        may_create=visit.actor.may("site:create"),
    )


@PAGES.get("/sites/new", permission="site:create")
def show_new(visit: Visit) -> Response:
    """The form of a new site."""
    return _show_form(visit, None, {"document_root": "public"}, None)


@PAGES.post("/sites/new", permission="site:create")
def create(visit: Visit) -> Response:
    """Declare the site and show how it comes online."""
    try:
        with visit.write() as uow:
            settings = site_form.setting_fields(uow.registry, site_form.runtime_choices(uow))
            row = service.declare(uow, visit.actor, site_form.draft_of(visit.form, settings))
    except Rejected as error:
        return _show_form(visit, None, visit.form, error)
    return visit.go(f"/sites/{row.id}", "site-declared")


@PAGES.get("/sites/{site_id}", permission="site:read")
def show(visit: Visit) -> Response:
    """One site: how it is, what is declared, what can be done to it."""
    with visit.read() as uow:
        row = service.get(uow, visit.actor, visit.identifier("site_id"))
        owner = accounts.get(uow, visit.actor, row.account_id).name
        values = _live_values(visit, uow, row)
        held = usage(uow, visit.actor, row.id)
        drifted = drift.of_subject(uow, service.subject_of(row))
        support = support_of(uow, row.runtime_driver, row.runtime_version)
    return visit.show(
        "sites/site.html", **values, usage=held, drift=DriftView.of(drifted) if drifted else None,
        drift_path=f"/drift/{drifted.id}" if drifted and visit.actor.may("drift:read") else "",
         owner=owner, form=Form({}), actions_for=offered(row, visit.actor),
        unicode=unicode_form(row.domains[0]), domains=[(name, unicode_form(name)) for name in row.domains],
        runtime=_runtime(row.runtime_driver, row.runtime_version), support=support,
    )  # fmt: skip


@PAGES.get("/sites/{site_id}/live", permission="site:read")
def show_live(visit: Visit) -> Response:
    """The part of a site's page that changes by itself; sends the browser to the list once the site is gone."""
    site_id = visit.identifier("site_id")
    try:
        with visit.read() as uow:
            values = _live_values(visit, uow, service.get(uow, visit.actor, site_id))
    except NotFound:
        response = visit.go("/sites", "site-deleted")
        response.status_code = 200
        response.headers["HX-Redirect"] = "/sites"
        return response
    return visit.show("sites/live.html", **values)


@PAGES.get("/sites/{site_id}/edit", permission="site:update")
def show_edit(visit: Visit) -> Response:
    """The form of an existing site."""
    with visit.read() as uow:
        row = service.get(uow, visit.actor, visit.identifier("site_id"))
    return _show_form(visit, row, site_form.values_of(row), None)


@PAGES.post("/sites/{site_id}/edit", permission="site:update")
def edit(visit: Visit) -> Response:
    """Change what is declared, unless somebody else did since the form was shown."""
    site_id = visit.identifier("site_id")
    generation = visit.form.get("generation", "")
    try:
        with visit.write() as uow:
            row = service.get(uow, visit.actor, site_id)
            settings = site_form.setting_fields(uow.registry, site_form.runtime_choices(uow))
            wanted = site_form.change_of(visit.form, settings)
            service.change(uow, visit.actor, site_id, wanted, int(generation) if generation.isdecimal() else 0)
    except NotFound:
        raise
    except Rejected as error:
        with visit.read() as uow:
            row = service.get(uow, visit.actor, site_id)
        return _show_form(visit, row, visit.form, error)
    return visit.go(f"/sites/{site_id}", "site-changed")


@PAGES.get("/sites/{site_id}/web", permission="site:update")
def show_web(visit: Visit) -> Response:
    """The form of what a site sets of its web server."""
    with visit.read() as uow:
        row = service.get(uow, visit.actor, visit.identifier("site_id"))
    return visit.show("sites/web.html", site=row, form=Form(web_form.values_of(WebView.of(row))))


@PAGES.post("/sites/{site_id}/web", permission="site:update")
def replace_web(visit: Visit) -> Response:
    """Set what the form says, unless somebody else changed the site since it was shown."""
    site_id = visit.identifier("site_id")
    generation = visit.form.get("generation", "")
    try:
        with visit.write() as uow:
            realms = {str(place.path): place.realm for place in web_options.read(uow, visit.actor, site_id).basic_auth}
            draft = web_form.draft_of(dict(visit.form), realms)
            web_options.replace(uow, visit.actor, site_id, draft, int(generation) if generation.isdecimal() else 0)
    except NotFound:
        raise
    except Rejected as error:
        with visit.read() as uow:
            row = service.get(uow, visit.actor, site_id)
        form = Form(visit.form, error, web_form.PLACES)
        return visit.show("sites/web.html", status_of(error), site=row, form=form)
    return visit.go(f"/sites/{site_id}", "site-changed")


@PAGES.post("/sites/{site_id}/retry", permission="site:update")
def retry(visit: Visit) -> Response:
    """Try at once again to bring a failed site to its declared state."""
    site_id = visit.identifier("site_id")
    with visit.write() as uow:
        service.retry(uow, visit.actor, site_id)
    return visit.go(f"/sites/{site_id}", "site-retried")


@PAGES.post("/sites/{site_id}/plan", permission="site:read")
def ask_plan(visit: Visit) -> Response:
    """Have the worker ask the site's node what it would change now."""
    site_id = visit.identifier("site_id")
    with visit.write() as uow:
        asked = request_plan(uow, visit.actor, site_id, new_identifier())
    return visit.go(f"/sites/{site_id}/plan/{asked.id}")


@PAGES.get("/sites/{site_id}/plan/{operation_id}", permission="site:read")
def show_plan(visit: Visit) -> Response:
    """What the node answered, or that it has not yet."""
    with visit.read() as uow:
        row = service.get(uow, visit.actor, visit.identifier("site_id"))
        asked = find_operation(uow, visit.actor, visit.identifier("operation_id"))
    if asked.kind != PLAN or asked.subject != service.subject_of(row):
        raise NotFound("There is no such plan.", hint="Ask for a new one on the site's page.")
    found = SitePlanView.model_validate(asked.result) if asked.state == DONE else None
    return visit.show(
        "sites/plan.html",
        site=row,
        is_waiting=asked.state not in (DONE, FAILED),
        condition=found.condition if found else asked.result.get("condition"),
        changes=[(change, diff_lines(change.diff)) for change in found.changes] if found else [],
        kept=found.kept if found else (),
    )


@PAGES.get("/sites/{site_id}/logs", permission="log:read")
def choose_log(visit: Visit) -> Response:
    """The logs of a site, before one was read."""
    with visit.read() as uow:
        row = service.get(uow, visit.actor, visit.identifier("site_id"))
    return _show_log(visit, row, LogRequest(log=LogName.access), "", None)


@PAGES.post("/sites/{site_id}/logs", permission="log:read")
def ask_log(visit: Visit) -> Response:
    """Have the worker ask the site's node for the end of a log."""
    site_id, name = visit.identifier("site_id"), visit.form.get("log", "")
    wanted = LogRequest(
        log=LogName(name) if name in set(LogName) else LogName.access, contains=visit.form.get("words", "")[:200]
    )
    with visit.write() as uow:
        asked = request_log(uow, visit.actor, site_id, wanted)
        earlier = visit.form.get("earlier", "")
        if earlier:
            _forget_log(uow, site_id, earlier)
    return visit.go(f"/sites/{site_id}/logs/{asked.id}" + ("?live=1" if visit.form.get("live") else ""))


@PAGES.get("/sites/{site_id}/logs/{operation_id}", permission="log:read")
def show_log(visit: Visit) -> Response:
    """What the node answered, or that it has not yet."""
    operation_id = visit.identifier("operation_id")
    with visit.read() as uow:
        row = service.get(uow, visit.actor, visit.identifier("site_id"))
        asked = uow.session.get(OperationRow, operation_id)
    if asked is None or asked.kind != READ_LOG or asked.subject != service.subject_of(row):
        return visit.go(f"/sites/{row.id}/logs")  # such pages are not kept for long
    return _show_log(visit, row, LogRequest.model_validate(dict(asked.parameters)), operation_id, asked)


def _forget_log(uow: UnitOfWork, site_id: str, operation_id: str) -> None:
    asked = uow.session.get(OperationRow, operation_id)
    if asked is not None and asked.kind == READ_LOG and asked.subject == f"site:{site_id}" and asked.state == DONE:
        forget(uow, operation_id)


def _show_log(
    visit: Visit, row: SiteRow, wanted: LogRequest, operation_id: str, asked: OperationRow | None
) -> Response:
    found = None if asked is None or asked.state != DONE else LogPage.model_validate(asked.result)
    return visit.show(
        "sites/logs.html",
        site=row,
        wanted=wanted,
        operation=operation_id,
        is_live="live" in visit.request.query(),
        is_waiting=asked is not None and asked.state not in (DONE, FAILED),
        condition=asked.result.get("condition") if asked is not None and asked.state == FAILED else None,
        lines=None if found is None else [(line, log_mood(line)) for line in found.lines],
    )


def log_mood(line: str) -> str:
    """How a line of a log is coloured: `bad` for a failure of the server or the code, `warn` for one of the visitor."""
    if status := re.search(r'" ([1-5])[0-9]{2} [0-9]+ "', line):
        return {"5": "bad", "4": "warn"}.get(status[1], "")
    return "bad" if re.search(r"\[(error|crit|alert|emerg)\]|PHP (Fatal|Parse)", line) else ""


def _ask(visit: Visit, action: Action) -> Response:
    with visit.read() as uow:
        row = service.get(uow, visit.actor, visit.identifier("site_id"))
    return visit.show("sites/confirm.html", site=row, action=action, form=Form({}))


def _take(visit: Visit, action: Action) -> Response:
    site_id = visit.identifier("site_id")
    try:
        with visit.write() as uow:
            row = service.get(uow, visit.actor, site_id)
            if action.is_dangerous and visit.form.get("confirmation", "").strip().lower() != row.domains[0]:
                raise InvalidInput("Nothing was done.", [FieldError("/confirmation", f"Please type {row.domains[0]}.")])
            action.act(uow, visit.actor, site_id)
    except NotFound:
        raise
    except Rejected as error:
        with visit.read() as uow:
            row = service.get(uow, visit.actor, site_id)
        form = Form(visit.form, error, {"/confirmation": "confirmation"})
        return visit.show("sites/confirm.html", status_of(error), site=row, action=action, form=form)
    return visit.go("/sites" if action.is_dangerous else f"/sites/{site_id}", action.word)


def _declare_action(action: Action) -> None:
    path = f"/sites/{{site_id}}/{action.name}"
    PAGES.get(path, permission=action.permission)(lambda visit: _ask(visit, action))
    PAGES.post(path, permission=action.permission)(lambda visit: _take(visit, action))


for _action in ACTIONS:
    _declare_action(_action)


def _show_form(visit: Visit, row: SiteRow | None, values: Mapping[str, str], error: Rejected | None) -> Response:
    with visit.read() as uow:
        runtimes = site_form.runtime_choices(uow)
        settings = site_form.setting_fields(uow.registry, runtimes)
        owners = site_form.account_choices(uow, visit.actor) if row is None else []
    form = Form(values, error, site_form.places(values, settings))
    if row is not None and isinstance(error, PreconditionFailed):
        form.hint = "What you typed is still here. Saving again replaces what the other person declared."
    groups = [
        (driver.upper(), fields, any(field.name in form.errors or form.value(field.name) for field in fields))
        for driver, fields in settings.items()
    ]
    return visit.show(
        "sites/form.html",
        status_of(error),
        site=row,
        generation=row.generation if row else 0,
        form=form,
        accounts=owners,
        runtimes=runtimes,
        settings=groups,
    )


def _live_values(visit: Visit, uow: UnitOfWork, row: SiteRow) -> dict[str, Any]:
    port = nodes.node_of(nodes.get(uow, visit.actor, row.node_id)).listen.port
    is_settled = row.phase in _SETTLED
    is_building = row.phase in (Phase.pending, Phase.applying)
    return {
        "site": row, "is_settled": is_settled, "sentence": _sentence(row), "may_update": visit.actor.may("site:update"),
        "may_read_logs": visit.actor.may("log:read"),
        "steps": _STEPS if is_building else (), "step": 1,
        "address": f"http://{row.domains[0]}" + ("/" if port == 80 else f":{port}/"),
    }  # fmt: skip


def _sentence(row: SiteRow) -> str:
    match row.phase:
        case Phase.ready:
            return (
                "Visitors see a notice. Nothing of the site is lost."
                if row.is_suspended
                else "The site answers as declared."
            )
        case Phase.failed:
            return "The site could not be brought to what is declared. What served before still serves."
        case Phase.deleting:
            return "The site is being removed from its node."
        case _:
            return "The platform is building what is declared. This takes a moment."


@lru_cache(maxsize=256)
def _runtime(driver: str, version: str) -> Markup:
    return escape(f"{driver.upper()} {version}")


def _cells(room: Room, rows: Sequence[SiteListRow]) -> list[tuple[str, ...]]:
    """What the list shows of each row. The template prints it as it is: what could need escaping is escaped here."""
    badges = room.phase_badges
    return [
        (
            row.id,
            escape(domains[0]),
            _notes(domains),
            badges[row.phase, bool(row.is_suspended)],
            _runtime(row.runtime_driver, row.runtime_version),
            date_text(row.created_at),
        )
        for row, domains in ((row, orjson.loads(row.domains)) for row in rows)
    ]


def _notes(domains: list[str]) -> Markup:
    written = unicode_form(domains[0])
    if not written and len(domains) == 1:
        return _NOTHING
    shown = _NOTE.format(f"shown as “{written}”") if written else _NOTHING
    return shown + _NOTE.format(f"and {len(domains) - 1} more") if len(domains) > 1 else shown
