"""What sites hold on disk, as their nodes found it, beside what their packages allow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, insert, select

from hosthold.db.unit_of_work import Database, UnitOfWork
from hosthold.errors import DriverError
from hosthold.nodes.models import NodeRow
from hosthold.reconcile.kind import NodeClient
from hosthold.sites.models import SiteRow, SiteUsageRow
from hosthold.sites.service import get, subject_of
from hosthold.types.actor import Actor
from hosthold.types.base import Frozen
from hosthold.types.identifier import new_identifier
from hosthold.types.moment import Moment, moment
from hosthold.types.package import Limits
from hosthold.types.resource import Desired, NodeOrder, OrderAction, Usage

EVERY = timedelta(minutes=5)
_AT_ONCE = 200
_PATIENCE = timedelta(seconds=25)


class SiteUsageView(Frozen):
    """What a site holds on disk and what it may hold.

    Before a node has looked at the site for the first time, what it holds is unknown. Where the node's file system
    cannot keep the site below its limits, `is_enforced` is false and a site may be above them.
    """

    bytes: int | None
    bytes_limit: int
    inodes: int | None
    inodes_limit: int
    is_enforced: bool
    is_above: bool
    measured_at: Moment | None


def usage(uow: UnitOfWork, actor: Actor, site_id: str) -> SiteUsageView:
    """What the site holds; raises `NotFound` as `get` does."""
    site = get(uow, actor, site_id)
    row = uow.session.get(SiteUsageRow, site.id)
    limits = Limits.model_validate(site.limits)
    most = limits.disk_mb * 2**20
    return SiteUsageView(
        bytes=None if row is None else row.bytes,
        bytes_limit=most,
        inodes=None if row is None else row.inodes,
        inodes_limit=limits.inodes,
        is_enforced=row is not None and row.is_enforced,
        is_above=row is not None and (row.bytes > most or row.inodes > limits.inodes),
        measured_at=None if row is None else moment(row.measured_at),
    )


def measure_all(database: Database, nodes: NodeClient) -> None:
    """Ask every node what its sites hold. Raises `DriverError` once all were asked, if one did not answer."""
    with database.read() as uow:
        names = dict(uow.session.execute(select(NodeRow.id, NodeRow.name)).all())
    failed: DriverError | None = None
    for node_id, name in names.items():
        try:
            _measure_node(database, nodes, node_id, name)
        except DriverError as error:
            failed = error
    if failed is not None:
        raise failed


def _measure_node(database: Database, nodes: NodeClient, node_id: str, name: str) -> None:
    after = ""
    while True:
        query = select(SiteRow).where(SiteRow.node_id == node_id, SiteRow.id > after, SiteRow.deleting.is_(False))
        with database.read() as uow:
            rows = uow.session.scalars(query.order_by(SiteRow.id).limit(_AT_ONCE)).all()
        if not rows:
            return
        after = rows[-1].id
        now = datetime.fromtimestamp(database.clock() / 1000, UTC)
        reply = nodes.send(
            NodeOrder(
                id=new_identifier(),
                node=name,
                action=OrderAction.measure,
                desired=tuple(
                    Desired(subject=subject_of(row), label=row.domains[0], generation=row.generation, fence=row.fence)
                    for row in rows
                ),
                issued_at=now,
                expires_at=now + _PATIENCE,
            )
        )
        if reply.condition is not None:
            raise DriverError(reply.condition.message, hint=reply.condition.hint)
        found = {outcome.subject.removeprefix("site:"): outcome.usage for outcome in reply.outcomes if outcome.usage}
        if found:
            with database.write() as uow:
                _store(uow, found)


def _store(uow: UnitOfWork, found: dict[str, Usage]) -> None:
    there = uow.session.scalars(select(SiteRow.id).where(SiteRow.id.in_(found))).all()
    uow.session.execute(delete(SiteUsageRow).where(SiteUsageRow.site_id.in_(there)))
    values = [
        {
            "site_id": site_id,
            "bytes": found[site_id].bytes,
            "inodes": found[site_id].inodes,
            "is_enforced": found[site_id].is_enforced,
            "measured_at": int(found[site_id].measured_at.timestamp() * 1000),
        }
        for site_id in there
    ]
    if values:
        uow.session.execute(insert(SiteUsageRow), values)
