"""Asking a site's node: what it would change, to overwrite what was edited by hand, to restart what runs the code.

Only the worker holds the key to nodes, so whoever else wants this requests an operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hosthold.audit.service import record
from hosthold.db.unit_of_work import Database, UnitOfWork
from hosthold.errors import DriverError, NotFound
from hosthold.nodes.models import NodeRow
from hosthold.nodes.service import node_of
from hosthold.reconcile.kind import NodeClient
from hosthold.sites.models import SiteRow
from hosthold.sites.rendering import render_removal, render_site
from hosthold.sites.service import get, retry, snapshot, subject_of
from hosthold.types.actor import Actor
from hosthold.types.base import Frozen
from hosthold.types.identifier import Identifier, new_identifier
from hosthold.types.node import Node
from hosthold.types.resource import Change, Desired, LogRequest, NodeOrder, OrderAction, Outcome, Repair
from hosthold.types.site import Condition
from hosthold.work.models import OperationRow
from hosthold.work.operations import request

PLAN = "plan_site"
REPAIR = "repair_site"
RESTART = "restart_runtime"
PATIENCE = timedelta(seconds=10)


class SitePlanView(Frozen):
    """What would change; nothing, if the site is as declared. `condition` says why it could not be carried out."""

    site_id: Identifier
    generation: int
    changes: tuple[Change, ...]
    kept: tuple[Change, ...] = ()
    """What was edited by hand and adopted, with what a repair would make of it."""
    condition: Condition | None = None


def request_plan(uow: UnitOfWork, actor: Actor, site_id: str, idempotency_key: str) -> OperationRow:
    """Ask for the site's plan; the operation's result is a `SitePlanView`. Nothing of the site is changed."""
    row = get(uow, actor, site_id)
    return request(uow, actor, PLAN, subject_of(row), row.account_path, {}, idempotency_key)


def request_repair(uow: UnitOfWork, actor: Actor, site_id: str, idempotency_key: str) -> OperationRow:
    """Ask for the site to be made as declared, over whatever was edited by hand; without this, drift is only told."""
    row = get(uow, actor, site_id)
    record(uow, actor, "site:repair", subject_of(row), row.account_path)
    return request(uow, actor, REPAIR, subject_of(row), row.account_path, {}, idempotency_key)


def request_restart(uow: UnitOfWork, actor: Actor, site_id: str, idempotency_key: str) -> OperationRow:
    """Ask for new processes for the site's code; requests that are being answered are finished first."""
    row = get(uow, actor, site_id)
    return request(uow, actor, RESTART, subject_of(row), row.account_path, {}, idempotency_key)


def plan(database: Database, nodes: NodeClient, actor: Actor, site_id: str) -> SitePlanView:
    """What the site's node would change. Raises `NotFound`, and `DriverError` if the node does not answer."""
    row, node = read_with_node(database, actor, site_id)
    site = snapshot(row)
    desired = render_removal(site, row.fence) if row.deleting else render_site(database.registry, site, node, row.fence)
    outcome = send(database, nodes, node, OrderAction.plan, desired)
    return SitePlanView(
        site_id=site.id,
        generation=site.generation,
        changes=outcome.changes,
        kept=outcome.kept,
        condition=outcome.condition,
    )


def repair(database: Database, nodes: NodeClient, actor: Actor, site_id: str) -> None:
    """Have the node overwrite what was edited by hand, and let the loop see that the site is as declared again.

    Raises `NotFound`, and `DriverError` if the node could not do it.
    """
    row, node = read_with_node(database, actor, site_id)
    if row.deleting:
        raise NotFound("The site is being deleted.", hint="Nothing of it is worth repairing.")
    desired = render_site(database.registry, snapshot(row), node, row.fence).model_copy(update={"repair": Repair.all})
    outcome = send(database, nodes, node, OrderAction.apply, desired)
    if outcome.condition is not None:
        raise DriverError(outcome.condition.message, hint=outcome.condition.hint)
    with database.write() as uow:
        retry(uow, actor, site_id)


def restart(database: Database, nodes: NodeClient, actor: Actor, site_id: str) -> None:
    """Have the site's services replaced by new processes. Raises `NotFound`, and `DriverError` if they do not start."""
    row, node = read_with_node(database, actor, site_id)
    desired = Desired(subject=subject_of(row), label=row.domains[0], generation=row.generation, fence=row.fence)
    outcome = send(database, nodes, node, OrderAction.restart, desired)
    if outcome.condition is not None:
        raise DriverError(outcome.condition.message, hint=outcome.condition.hint)


def read_with_node(database: Database, actor: Actor, site_id: str) -> tuple[SiteRow, Node]:
    """The site and the node that it is on. Raises `NotFound`."""
    with database.read() as uow:
        row = get(uow, actor, site_id)
        return row, node_of(uow.session.get_one(NodeRow, row.node_id))


def send(
    database: Database,
    nodes: NodeClient,
    node: Node,
    action: OrderAction,
    desired: Desired,
    *,
    log: LogRequest | None = None,
) -> Outcome:
    """What became of an order about one subject. Raises `DriverError` if the node refused it or gave no answer."""
    now = datetime.fromtimestamp(database.clock() / 1000, UTC)
    reply = nodes.send(
        NodeOrder(
            id=new_identifier(),
            node=node.name,
            action=action,
            desired=(desired,),
            log=log,
            issued_at=now,
            expires_at=now + PATIENCE,
        )
    )
    outcomes: Sequence[Outcome] = reply.outcomes
    if not outcomes:
        refused = reply.condition
        raise DriverError(
            refused.message if refused else "The node gave no answer.", hint=refused.hint if refused else ""
        )
    return outcomes[0]
