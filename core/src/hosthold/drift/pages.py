"""The panel's pages of what was changed by hand."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlencode

from sqlalchemy import select
from starlette.responses import Response

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.drift import service
from hosthold.drift.models import DriftRow
from hosthold.drift.service import DriftState, DriftView
from hosthold.errors import NotFound, NotPermitted, PreconditionFailed, Rejected
from hosthold.panel.forms import Form, status_of
from hosthold.panel.page import Pages, Visit
from hosthold.panel.text import diff_lines
from hosthold.sites import planning
from hosthold.types.actor import Actor
from hosthold.types.identifier import new_identifier
from hosthold.types.resource import Change
from hosthold.work.models import OperationRow
from hosthold.work.operations import FAILED, PENDING, RUNNING

PAGES = Pages()
PAGE_SIZE = 25
_STATES = (("", "All"), ("found", "To decide"), ("kept", "Kept"), ("mended", "Made again"))
_DECISIONS = (service.ADOPT, planning.REPAIR, service.REPAIR_NODE)


class Decision(NamedTuple):
    """One of the two ways out of drift, and the words that ask."""

    name: str
    label: str
    icon: str
    question: str
    explanation: str
    permissions: dict[str, str]


ADOPT = Decision(
    "adopt", "Adopt", "check", "Keep what was edited by hand?",
    "the edited files stay as they are now, and are no longer told of. Their server tests them first, and reads them "
    "then. The next change of what is declared of them, or a repair, overwrites them.",
    {"site": "site:adopt", "node": "node:adopt"},
)  # fmt: skip
REPAIR = Decision(
    "repair", "Repair", "refresh", "Overwrite what was changed by hand?",
    "its configuration on the node becomes what is declared; what somebody changed there is lost. Files of sites are "
    "not touched.",
    {"site": "site:update", "node": "node:repair"},
)  # fmt: skip


@PAGES.get("/drift", permission="drift:read")
def list_drift(visit: Visit) -> Response:
    """What somebody changed by hand, on all nodes."""
    query = visit.request.query()
    state = query.get("state", "") if query.get("state", "") in set(DriftState) else ""
    words, cursor = query.get("name", "").strip()[:200], visit.cursor
    with visit.read() as uow:
        wanted = DriftState(state) if state else None
        rows, next_cursor = service.page(uow, visit.actor, wanted, words, PAGE_SIZE, cursor)
    kept = {name: value for name, value in (("state", state), ("name", words)) if value}
    return visit.show(
        "drift/list.html",
        rows=[(row.id, DriftView.of(row), row.found_at) for row in rows],
        states=[(value, label, _address("/drift", {**kept, "state": value})) for value, label in _STATES],
        state=state,
        words=words,
        cursor=cursor,
        base=_address("/drift", kept),
        here=_address("/drift", {**kept, "cursor": cursor or ""}),
        next_cursor=next_cursor,
    )


@PAGES.get("/drift/{drift_id}", permission="drift:read")
def show(visit: Visit) -> Response:
    """One site or node: what was changed, and what can be done about it."""
    with visit.read() as uow:
        row = uow.session.get(DriftRow, visit.identifier("drift_id"))
        asked = None if row is None else _latest(uow, row.subject)
    if row is None:
        response = visit.go("/drift", "drift-gone")
        if visit.request.text(b"hx-request"):
            response.status_code = 200
            response.headers["HX-Redirect"] = "/drift"
        return response
    view = DriftView.of(row)
    return visit.show(
        "drift/show.html",
        drift=view,
        drift_id=row.id,
        found_at=row.found_at,
        changes=shown(view.changes),
        kept=shown(view.kept),
        decisions=offered(view, visit.actor),
        is_waiting=asked is not None and asked.state in (PENDING, RUNNING),
        condition=asked.result.get("condition") if asked is not None and asked.state == FAILED else None,
        form=Form({}),
    )


def offered(view: DriftView, actor: Actor) -> list[Decision]:
    """What this actor can decide about this drift."""
    kind = view.subject.partition(":")[0]
    possible = [ADOPT] if view.state is DriftState.found and any(not change.refusal for change in view.changes) else []
    possible += [REPAIR] if view.state is not DriftState.mended else []
    return [decision for decision in possible if actor.may(decision.permissions[kind])]


def shown(changes: tuple[Change, ...]) -> list[tuple[Change, list[tuple[str, str, str]]]]:
    """Changes with the lines of their differences."""
    return [(change, diff_lines(change.diff)) for change in changes]


def _latest(uow: UnitOfWork, subject: str) -> OperationRow | None:
    query = select(OperationRow).where(OperationRow.subject == subject, OperationRow.kind.in_(_DECISIONS))
    return uow.session.scalar(query.order_by(OperationRow.id.desc()).limit(1))


def _address(path: str, query: dict[str, str]) -> str:
    filled = {name: value for name, value in query.items() if value}
    return path + (f"?{urlencode(filled)}" if filled else "")


def _ask(visit: Visit, decision: Decision) -> Response:
    return _confirm(visit, decision, None)


def _confirm(visit: Visit, decision: Decision, error: Rejected | None) -> Response:
    with visit.read() as uow:
        row = _row(uow, visit, decision)
    values: dict[str, Any] = {"drift": DriftView.of(row), "drift_id": row.id, "decision": decision}
    return visit.show("drift/confirm.html", status_of(error), form=Form(visit.form, error), **values)


def _decide(visit: Visit, decision: Decision) -> Response:
    try:
        with visit.write() as uow:
            row = _row(uow, visit, decision)
            kind, _, name = row.subject.partition(":")
            if decision is ADOPT:
                service.request_adopt(uow, visit.actor, row.subject, visit.form.get("seen", ""), new_identifier())
            elif kind == "site":
                planning.request_repair(uow, visit.actor, name, new_identifier())
            else:
                service.request_repair_node(uow, visit.actor, row.subject, new_identifier())
    except NotFound:
        raise
    except (PreconditionFailed, Rejected) as error:
        return _confirm(visit, decision, error)
    return visit.go(f"/drift/{row.id}")


def _row(uow: UnitOfWork, visit: Visit, decision: Decision) -> DriftRow:
    row = uow.session.get(DriftRow, visit.identifier("drift_id"))
    if row is None:
        raise NotFound("This is as declared again.", hint="Look at the list of drift for what is left.")
    needed = decision.permissions[row.subject.partition(":")[0]]
    if not visit.actor.may(needed):
        raise NotPermitted(
            f"This needs the permission {needed}.", hint="Ask who manages the account to give it to you."
        )
    return row


def _declare(decision: Decision) -> None:
    path = f"/drift/{{drift_id}}/{decision.name}"
    PAGES.get(path, permission="drift:read")(lambda visit: _ask(visit, decision))
    PAGES.post(path, permission="drift:read")(lambda visit: _decide(visit, decision))


for _decision in (ADOPT, REPAIR):
    _declare(_decision)
