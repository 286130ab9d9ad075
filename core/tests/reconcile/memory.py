"""A node in memory, a worker that may die, and looks at what the loop made of it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hosthold.db.unit_of_work import Database
from hosthold.nodes.jobs import NodeKind
from hosthold.reconcile.loop import Loop
from hosthold.sites import service
from hosthold.sites.jobs import SiteKind
from hosthold.sites.models import SiteRow
from hosthold.sites.schema import SiteDraft
from hosthold.types.resource import Desired, NodeOrder, OrderReply, Outcome, Resource
from hosthold.types.site import Condition
from hosthold.work.models import EventRow
from sqlalchemy import select

from core.tests.sites.conftest import World


class Killed(BaseException):
    """The worker's process died."""


class MemoryNode:
    """A node whose world is a dictionary. It refuses older fences, as the real one does."""

    def __init__(self) -> None:
        self.world: dict[str, tuple[Resource, ...]] = {}
        self.fences: dict[str, int] = {}
        self.orders: list[NodeOrder] = []
        self.before: Callable[[NodeOrder], None] = lambda order: None
        self.after: Callable[[NodeOrder], None] = lambda order: None
        self.judge: Callable[[Desired], Condition | None] = lambda desired: None
        self.proven_in_ms: int | None = None

    def send(self, order: NodeOrder) -> OrderReply:
        order = NodeOrder.model_validate_json(order.model_dump_json())
        self.orders.append(order)
        self.before(order)
        outcomes = tuple(self._apply(desired) for desired in order.desired)
        self.after(order)
        return OrderReply(order_id=order.id, outcomes=outcomes)

    def give_up(self) -> None:
        """Nobody ever waits for it."""

    def _apply(self, desired: Desired) -> Outcome:
        condition = self.judge(desired)
        if self.fences.get(desired.subject, 0) > desired.fence:
            condition = Condition(reason="OrderRefused", message="older than what was seen", hint="")
        if condition is None:
            self.fences[desired.subject] = desired.fence
            self.world.pop(desired.subject, None)
            if desired.resources:
                self.world[desired.subject] = desired.resources
        return Outcome(
            subject=desired.subject, condition=condition, facts={"php": ("8.2",)}, proven_in_ms=self.proven_in_ms
        )


def loop_over(database: Database, memory: MemoryNode, seed: int = 1) -> Loop:
    return Loop(database, memory, [NodeKind(database.registry), SiteKind(database.registry)], Random(seed))


def declare(world: World, domain: str) -> str:
    with world.database.write() as uow:
        return service.declare(uow, world.alice, SiteDraft.model_validate({"domain": domain})).id


def row_of(world: World, site_id: str) -> SiteRow:
    with world.database.read() as uow:
        return uow.session.get_one(SiteRow, site_id)


def events(world: World) -> list[str]:
    with world.database.read() as uow:
        return list(
            uow.session.scalars(select(EventRow.name).where(EventRow.name != "changed").order_by(EventRow.sequence))
        )
