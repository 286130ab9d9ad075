"""Registering nodes and choosing the one that takes a site."""

from __future__ import annotations

from pydantic import TypeAdapter
from sqlalchemy import func, select

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.errors import NotFound, Rejected
from hosthold.nodes.models import NodeRow
from hosthold.sites.models import CounterRow, SiteRow
from hosthold.types.actor import Actor
from hosthold.types.base import Frozen
from hosthold.types.identifier import Identifier, new_identifier
from hosthold.types.moment import Moment, moment
from hosthold.types.node import Node
from hosthold.types.site import Condition, Phase

_FACTS = TypeAdapter(dict[str, tuple[str, ...]])


class NodeView(Frozen):
    """A node as the API shows it."""

    id: Identifier
    name: str
    phase: Phase
    conditions: tuple[Condition, ...]
    isolation: str
    listen: str
    runtimes: dict[str, tuple[str, ...]]
    created_at: Moment

    @classmethod
    def of(cls, row: NodeRow) -> NodeView:
        """The view of a row."""
        node = node_of(row)
        return cls(
            id=row.id,
            name=row.name,
            phase=Phase(row.phase),
            conditions=tuple(Condition.model_validate(condition) for condition in row.conditions),
            isolation=node.isolation,
            listen=f"{node.listen.address}:{node.listen.port}",
            runtimes=facts_of(row),
            created_at=moment(row.created_at),
        )


def facts_of(row: NodeRow) -> dict[str, tuple[str, ...]]:
    """The runtime versions that the node has, newest first, by driver."""
    return _FACTS.validate_python(row.facts)


def node_of(row: NodeRow) -> Node:
    """The frozen value that drivers see of a row."""
    return Node.model_validate({**row.description, "facts": row.facts})


def register(uow: UnitOfWork, node: Node, uid_first: int) -> NodeRow:
    """Declare a node, or note that it changed. `uid_first` is where Unix numbers begin on a new platform."""
    description = node.model_dump(mode="json", exclude={"facts"})
    row = uow.session.scalar(select(NodeRow).where(NodeRow.name == node.name))
    if row is None:
        row = NodeRow(
            id=new_identifier(),
            name=node.name,
            description=description,
            facts={},
            phase=Phase.pending,
            conditions=[],
            due_at=uow.clock(),
            created_at=uow.clock(),
        )
        uow.session.add(row)
    elif row.description != description:
        row.description = description
        row.declare_again(uow.clock())
    if uow.session.get(CounterRow, "uid") is None:
        uow.session.add(CounterRow(name="uid", value=uid_first - 1))
    uow.session.flush()
    uow.ring("node", row.id)
    return row


def choose(uow: UnitOfWork, runtime: str) -> NodeRow:
    """The node with the fewest sites among those that offer the runtime. Raises `Rejected` if none is ready."""
    rows = uow.session.scalars(select(NodeRow).where(NodeRow.deleting.is_(False)).order_by(NodeRow.name)).all()
    ready = [row for row in rows if row.facts]
    if not ready:
        raise Rejected(
            "No node is ready to take a site.",
            hint="Start `hosthold node` on a machine, and see `hosthold doctor` for what it lacks.",
        )
    suitable = [row for row in ready if runtime in row.facts] or ready
    if len(suitable) == 1:
        return suitable[0]
    counted = select(SiteRow.node_id, func.count()).group_by(SiteRow.node_id)
    held = dict(uow.session.execute(counted).all())
    return min(suitable, key=lambda row: held.get(row.id, 0))


def get(uow: UnitOfWork, _actor: Actor, node_id: str) -> NodeRow:
    """The node with this identifier; `NotFound` if there is none."""
    row = uow.session.get(NodeRow, node_id)
    if row is None:
        raise NotFound("There is no such node.", hint="Check the identifier.")
    return row


def page(uow: UnitOfWork, _actor: Actor, limit: int, cursor: str | None) -> tuple[list[NodeRow], str | None]:
    """All nodes, newest first, and the cursor of the next page if there is one."""
    query = select(NodeRow)
    if cursor is not None:
        query = query.where(NodeRow.id < cursor)
    rows = list(uow.session.scalars(query.order_by(NodeRow.id.desc()).limit(limit + 1)))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None
