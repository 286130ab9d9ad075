"""The plan of a site: what its node would change now, without changing anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hosthold.db.unit_of_work import Database
from hosthold.errors import Unavailable
from hosthold.nodes.models import NodeRow
from hosthold.nodes.service import node_of
from hosthold.reconcile.kind import NodeClient
from hosthold.sites.rendering import render_removal, render_site
from hosthold.sites.service import get, snapshot
from hosthold.types.actor import Actor
from hosthold.types.base import Frozen
from hosthold.types.identifier import Identifier, new_identifier
from hosthold.types.resource import Change, NodeOrder, OrderAction
from hosthold.types.site import Condition

PATIENCE = timedelta(seconds=10)


class SitePlanView(Frozen):
    """What would change; nothing, if the site is as declared. `condition` says why it could not be carried out."""

    site_id: Identifier
    generation: int
    changes: tuple[Change, ...]
    condition: Condition | None = None


def plan(database: Database, nodes: NodeClient, actor: Actor, site_id: str) -> SitePlanView:
    """Ask the site's node what it would change. Raises `NotFound`, `DriverError`, or `Unavailable` if it does not answer."""
    with database.read() as uow:
        row = get(uow, actor, site_id)
        site, fence, deleting = snapshot(row), row.fence, row.deleting
        node = node_of(uow.session.get_one(NodeRow, row.node_id))
    desired = render_removal(site, fence) if deleting else render_site(database.registry, site, node, fence)
    now = datetime.fromtimestamp(database.clock() / 1000, UTC)
    reply = nodes.send(NodeOrder(id=new_identifier(), node=node.name, action=OrderAction.plan, desired=(desired,),
                                 issued_at=now, expires_at=now + PATIENCE))
    if not reply.outcomes:
        condition = reply.condition
        raise Unavailable(condition.message if condition else "The node gave no plan.", hint=condition.hint if condition else "")
    outcome = reply.outcomes[0]
    return SitePlanView(site_id=site.id, generation=site.generation, changes=outcome.changes, condition=outcome.condition)
