"""Asking nodes about drift: to look, to keep what was edited, to overwrite it. Only the worker may, and a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select

from hosthold.db.unit_of_work import Database, UnitOfWork
from hosthold.drift.service import note_planned
from hosthold.errors import DriverError, HostholdError, NotFound, Rejected
from hosthold.nodes.models import NodeRow
from hosthold.nodes.rendering import render_node
from hosthold.nodes.service import node_of
from hosthold.reconcile.kind import NodeClient
from hosthold.reconcile.loop import DRIFTED
from hosthold.sites.models import SiteRow
from hosthold.sites.planning import send
from hosthold.sites.rendering import render_site
from hosthold.sites.service import snapshot
from hosthold.types.identifier import new_identifier
from hosthold.types.node import Node
from hosthold.types.resource import Desired, NodeOrder, OrderAction, Outcome, Repair, Seen
from hosthold.types.site import Phase

log = structlog.get_logger()

_AT_ONCE = 50
_PATIENCE = timedelta(seconds=25)

Row = SiteRow | NodeRow


def adopt(database: Database, nodes: NodeClient, subject: str, keep: Sequence[Seen]) -> None:
    """Have a node keep these edits. Raises `NotFound`, `Rejected` with the node's reason, or `DriverError`."""
    row, node, desired = _desired(database, subject)
    outcome = send(database, nodes, node, OrderAction.adopt, desired.model_copy(update={"keep": tuple(keep)}))
    if (condition := outcome.condition) is not None:
        raise (Rejected if condition.is_permanent else DriverError)(condition.message, hint=condition.hint)
    _look_again(database, row)


def repair_node(database: Database, nodes: NodeClient, subject: str) -> None:
    """Have a node overwrite what of its own was edited by hand. Raises `NotFound`, and `DriverError` if it does not."""
    row, node, desired = _desired(database, subject)
    outcome = send(database, nodes, node, OrderAction.apply, desired.model_copy(update={"repair": Repair.all}))
    if outcome.condition is not None:
        raise DriverError(outcome.condition.message, hint=outcome.condition.hint)
    _look_again(database, row)


def look_at_parked(database: Database, nodes: NodeClient) -> None:
    """Look for drift where the loop does not: at what failed for good. Nothing is changed on any node.

    What failed only because of drift that is gone is made due again. Raises `DriverError` once all were asked, if one
    node did not answer.
    """
    failed: HostholdError | None = None
    for model in (NodeRow, SiteRow):
        after = ""
        while rows := _parked(database, model, after):
            after = rows[-1].id
            try:
                _look_at(database, nodes, rows)
            except HostholdError as error:
                failed = error
    if failed is not None:
        raise failed


def _parked(database: Database, model: Any, after: str) -> list[Row]:
    query = select(model).where(
        model.phase == Phase.failed, model.due_at.is_(None), model.deleting.is_(False), model.id > after
    )
    with database.read() as uow:
        return list(uow.session.scalars(query.order_by(model.id).limit(_AT_ONCE)))


def _look_at(database: Database, nodes: NodeClient, rows: Sequence[Row]) -> None:
    asked: dict[str, list[Desired]] = {}
    by_subject: dict[str, Row] = {}
    for row in rows:
        try:
            _, node, desired = _render(database, row)
        except (HostholdError, ValueError) as error:  # its condition says so already
            log.info("not looked at", row=row.id, cause=str(error))
            continue
        asked.setdefault(node.name, []).append(desired)
        by_subject[desired.subject] = row
    for name, wanted in asked.items():
        now = datetime.fromtimestamp(database.clock() / 1000, UTC)
        reply = nodes.send(
            NodeOrder(
                id=new_identifier(),
                node=name,
                action=OrderAction.plan,
                desired=tuple(wanted),
                issued_at=now,
                expires_at=now + _PATIENCE,
            )
        )
        with database.write() as uow:
            for outcome in reply.outcomes:
                _note_parked(uow, by_subject[outcome.subject], outcome)


def _note_parked(uow: UnitOfWork, seen: Row, outcome: Outcome) -> None:
    row: Row | None = uow.session.get(type(seen), seen.id, with_for_update=True)  # type: ignore[assignment]
    if row is None or row.generation != seen.generation or row.due_at is not None or outcome.condition is not None:
        return
    puts_back = uow.settings.drift.repair is not Repair.nothing
    waits = any(change.is_drift and not (puts_back and change.action == "create") for change in outcome.changes)
    if not waits and row.conditions and row.conditions[0]["reason"] == DRIFTED:
        _make_due(uow, row)
    path = row.account_path if isinstance(row, SiteRow) else ""
    note_planned(uow, outcome.subject, _label(row), path, outcome)


def _label(row: Row) -> str:
    return str(row.domains[0]) if isinstance(row, SiteRow) else row.name


def _desired(database: Database, subject: str) -> tuple[Row, Node, Desired]:
    kind, _, name = subject.partition(":")
    query: Any = (
        select(SiteRow).where(SiteRow.id == name) if kind == "site" else select(NodeRow).where(NodeRow.name == name)
    )
    with database.read() as uow:
        row = uow.session.scalar(query)
    if row is None or row.deleting:
        raise NotFound("There is no such site or node any more.", hint="Nothing is left to be done.")
    return _render(database, row)


def _render(database: Database, row: Row) -> tuple[Row, Node, Desired]:
    if isinstance(row, NodeRow):
        node = node_of(row)
        return row, node, render_node(database.registry, node, row.generation, row.fence)
    with database.read() as uow:
        node = node_of(uow.session.get_one(NodeRow, row.node_id))
    return row, node, render_site(database.registry, snapshot(row), node, row.fence)


def _look_again(database: Database, seen: Row) -> None:
    """Have the loop see at once what is there now."""
    with database.write() as uow:
        row: Row | None = uow.session.get(type(seen), seen.id, with_for_update=True)  # type: ignore[assignment]
        if row is not None:
            _make_due(uow, row)


def _make_due(uow: UnitOfWork, row: Row) -> None:
    row.declare_again(uow.clock())
    uow.ring("site" if isinstance(row, SiteRow) else "node", row.id)
