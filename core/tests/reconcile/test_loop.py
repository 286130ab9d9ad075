"""The loop: whatever fails or dies on the way, the world ends up exactly as declared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random

import pytest
from hosthold.db.unit_of_work import Database
from hosthold.errors import QueueError, Rejected, Unavailable
from hosthold.nodes.jobs import NodeKind
from hosthold.nodes.service import register
from hosthold.reconcile.loop import LEASE_MS, Loop
from hosthold.sites import service
from hosthold.sites.jobs import SiteKind
from hosthold.sites.models import SiteRow
from hosthold.sites.rendering import render_site
from hosthold.sites.schema import SiteChange, SiteDraft
from hosthold.types.node import Node
from hosthold.types.resource import Desired, NodeOrder, OrderReply, Outcome, Resource
from hosthold.types.site import Condition
from hosthold.work.models import EventRow
from sqlalchemy import select

from conftest import Clock
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

    def send(self, order: NodeOrder) -> OrderReply:
        order = NodeOrder.model_validate_json(order.model_dump_json())
        self.orders.append(order)
        self.before(order)
        outcomes = tuple(self._apply(desired) for desired in order.desired)
        self.after(order)
        return OrderReply(order_id=order.id, outcomes=outcomes)

    def _apply(self, desired: Desired) -> Outcome:
        condition = self.judge(desired)
        if self.fences.get(desired.subject, 0) > desired.fence:
            condition = Condition(reason="OrderRefused", message="older than what was seen", hint="")
        if condition is None:
            self.fences[desired.subject] = desired.fence
            self.world.pop(desired.subject, None)
            if desired.resources:
                self.world[desired.subject] = desired.resources
        return Outcome(subject=desired.subject, condition=condition, facts={"php": ("8.2",)})


@pytest.fixture
def memory() -> MemoryNode:
    return MemoryNode()


def loop_over(database: Database, memory: MemoryNode, seed: int = 1) -> Loop:
    return Loop(database, memory, [NodeKind(database.registry), SiteKind(database.registry)], Random(seed))


@pytest.fixture
def loop(world: World, memory: MemoryNode) -> Loop:
    made = loop_over(world.database, memory)
    made.run("node")
    return made


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


def test_a_declared_site_becomes_ready_and_plugins_will_hear_of_it_once(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")
    assert loop.run("site") == 1
    row = row_of(world, site_id)
    assert (row.phase, row.observed_generation, row.attempts, row.conditions) == ("ready", 1, 0, [])
    assert f"site:{site_id}" in memory.world
    clock.advance(20 * 60_000)
    assert loop.run("site") == 1
    assert events(world) == ["on_site_ready"]


def test_a_batch_of_sites_is_one_order(world: World, loop: Loop, memory: MemoryNode) -> None:
    memory.orders.clear()
    for number in range(3):
        declare(world, f"n{number}.test")
    assert loop.run("site") == 3
    assert [len(order.desired) for order in memory.orders] == [3]


def test_a_passing_failure_is_tried_again_with_growing_pauses(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")
    memory.judge = lambda desired: Condition(reason="ProbeFailed", message="502", hint="wait")
    pauses = []
    for _ in range(4):
        loop.run("site")
        row = row_of(world, site_id)
        assert row.phase == "failed"
        assert row.conditions[0]["reason"] == "ProbeFailed"
        assert row.due_at is not None
        pauses.append(row.due_at - clock.now)
        assert loop.run("site") == 0
        clock.advance(pauses[-1])
    assert pauses == sorted(pauses)
    memory.judge = lambda desired: None
    loop.run("site")
    assert row_of(world, site_id).phase == "ready"
    assert events(world) == ["on_site_failed", "on_site_ready"]


def test_a_permanent_failure_rests_until_the_declaration_changes(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")
    memory.judge = lambda desired: Condition(reason="PathTaken", message="not ours", hint="move it", is_permanent=True)
    loop.run("site")
    clock.advance(10**9)
    assert loop.run("site") == 0
    memory.judge = lambda desired: None
    with world.database.write() as uow:
        service.change(uow, world.alice, site_id, SiteChange.model_validate({"document_root": "web"}), None)
    loop.run("site")
    assert row_of(world, site_id).phase == "ready"


def test_r18_a_change_during_an_apply_is_not_settled_over(world: World, loop: Loop, memory: MemoryNode) -> None:
    site_id = declare(world, "alice.test")

    def change_meanwhile(order: NodeOrder) -> None:
        memory.after = lambda order: None
        with world.database.write() as uow:
            service.suspend(uow, world.alice, site_id)

    memory.after = change_meanwhile
    loop.run("site")
    row = row_of(world, site_id)
    assert (row.phase, row.observed_generation, row.generation) == ("ready", 2, 2)
    assert [
        desired.generation for order in memory.orders for desired in order.desired if desired.subject.startswith("site")
    ] == [1, 2]


def test_r17_two_workers_do_not_work_on_one_site(world: World, loop: Loop, memory: MemoryNode) -> None:
    declare(world, "alice.test")
    other = loop_over(world.database, memory)
    seen: list[int] = []
    memory.before = lambda order: seen.append(other.run("site"))
    loop.run("site")
    assert seen == [0]


def test_r03_a_worker_that_died_is_replaced_when_its_lease_ends(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")

    def die(order: NodeOrder) -> None:
        raise Killed

    memory.after = die
    with pytest.raises(Killed):
        loop.run("site")
    memory.after = lambda order: None
    assert loop_over(world.database, memory).run("site") == 0
    clock.advance(LEASE_MS)
    assert loop_over(world.database, memory).run("site") == 1
    assert row_of(world, site_id).phase == "ready"


def test_r03_a_worker_that_comes_back_late_settles_nothing(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")

    def overtaken(order: NodeOrder) -> None:
        memory.before = lambda order: None
        clock.advance(LEASE_MS)
        assert loop_over(world.database, memory).run("site") == 1
        with world.database.write() as uow:
            service.delete(uow, world.alice, site_id, None)
        assert loop_over(world.database, memory).run("site") == 1

    memory.before = overtaken
    loop.run("site")
    assert f"site:{site_id}" not in memory.world
    with world.database.read() as uow:
        assert uow.session.get(SiteRow, site_id) is None


def test_a_driver_or_plugin_that_cannot_render_fails_its_site_alone(
    world: World, loop: Loop, memory: MemoryNode
) -> None:
    good, bad = declare(world, "good.test"), declare(world, "bad.test")
    with world.database.write() as uow:
        uow.session.get_one(SiteRow, bad).runtime_driver = "cobol"
    loop.run("site")
    assert row_of(world, good).phase == "ready"
    row = row_of(world, bad)
    assert (row.phase, row.conditions[0]["reason"], row.due_at) == ("failed", "NotInstalled", None)


def test_a_live_site_whose_user_is_not_rendered_is_braked() -> None:
    from hosthold.reconcile.safety import Braked, brake
    from hosthold.types.node import Owner
    from hosthold.types.resource import Directory
    from hosthold.types.text import AbsolutePath

    home = Directory(path=AbsolutePath("/x/sites/s1"), owner=Owner(uid=0, gid=0), mode=0o711)
    with pytest.raises(Braked):
        brake(Desired(subject="site:1", label="x.test", generation=1, fence=1), (home,))
    brake(Desired(subject="site:1", label="x.test", generation=1, fence=1, resources=(home,)), (home,))


def test_drift_is_told_and_the_site_stays_ready(world: World, loop: Loop, memory: MemoryNode, clock: Clock) -> None:
    site_id = declare(world, "alice.test")
    loop.run("site")
    memory.judge = lambda desired: Condition(
        reason="Drifted", message="edited by hand", hint="adopt or repair", is_permanent=True
    )
    clock.advance(20 * 60_000)
    loop.run("site")
    row = row_of(world, site_id)
    assert (row.phase, row.conditions[0]["reason"]) == ("ready", "Drifted")
    assert row.due_at is not None


@pytest.mark.parametrize("seed", range(12))
def test_r01_random_failures_and_deaths_end_in_exactly_the_declared_world(
    world: World, memory: MemoryNode, clock: Clock, node: Node, seed: int
) -> None:
    random = Random(seed)
    loop_over(world.database, memory).run("node")

    def trouble(order: NodeOrder) -> None:
        match random.randrange(6):
            case 0:
                raise Killed
            case 1:
                raise Unavailable("the node does not answer")

    memory.before = memory.after = trouble
    memory.judge = lambda desired: (
        Condition(reason="DiskFull", message="no space", hint="") if random.random() < 0.2 else None
    )
    ids: list[str] = []
    for step in range(60):
        try:
            match random.randrange(7):
                case 0 | 1:
                    ids.append(declare(world, f"n{step}.test"))
                case 2 if ids:
                    with world.database.write() as uow:
                        service.delete(uow, world.alice, random.choice(ids), None)
                case 3 if ids:
                    with world.database.write() as uow:
                        act = random.choice([service.suspend, service.resume, service.retry])
                        act(uow, world.alice, random.choice(ids))
                case 4 if ids:
                    with world.database.write() as uow:
                        change = SiteChange.model_validate(
                            {"document_root": f"web{step}", "aliases": [f"a{step}.test"]}
                        )
                        service.change(uow, world.alice, random.choice(ids), change, None)
                case _:
                    clock.advance(random.randrange(LEASE_MS))
                    loop_over(world.database, memory, seed).run("site")
        except (Rejected, Killed):
            continue
    memory.before = memory.after = lambda order: None
    memory.judge = lambda desired: None
    for _ in range(5):
        clock.advance(15 * 60_000)
        loop_over(world.database, memory, seed).run("site")
    expected = {}
    with world.database.read() as uow:
        for row in uow.session.scalars(select(SiteRow)):
            assert (row.phase, row.generation) == ("ready", row.observed_generation)
            assert not row.deleting
            on_node = node.model_copy(update={"facts": {"php": ("8.2",)}})
            site = service.snapshot(row)
            expected[f"site:{row.id}"] = (site, on_node)
    wanted = {
        subject: render_site(world.database.registry, *value, fence=0).resources for subject, value in expected.items()
    }
    assert {subject: resources for subject, resources in memory.world.items() if subject.startswith("site:")} == wanted


def test_r16_a_row_that_cannot_be_read_fails_alone_and_can_be_declared_anew(
    world: World, loop: Loop, memory: MemoryNode
) -> None:
    good, bad = declare(world, "good.test"), declare(world, "bad.test")
    with world.database.write() as uow:
        uow.session.get_one(SiteRow, bad).document_root = "../../etc"
    loop.run("site")
    assert row_of(world, good).phase == "ready"
    row = row_of(world, bad)
    assert (row.phase, row.conditions[0]["reason"], row.due_at) == ("failed", "DeclarationInvalid", None)
    with world.database.write() as uow:
        service.change(uow, world.alice, bad, SiteChange.model_validate({"document_root": "public"}), None)
    loop.run("site")
    assert row_of(world, bad).phase == "ready"


def test_a_failure_that_comes_back_after_a_recovery_is_told_again(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")
    for judgement in (Condition(reason="ProbeFailed", message="502", hint="wait"), None) * 2:
        memory.judge = lambda desired, judgement=judgement: judgement  # type: ignore[misc]
        with world.database.write() as uow:
            service.retry(uow, world.alice, site_id)
        loop.run("site")
    assert events(world) == ["on_site_failed", "on_site_ready"] * 2


def test_r30_a_clock_that_was_set_back_holds_nothing_up(
    world: World, loop: Loop, memory: MemoryNode, clock: Clock
) -> None:
    site_id = declare(world, "alice.test")
    clock.advance(-7 * 24 * 3_600_000)
    assert loop.run("site") == 1
    assert row_of(world, site_id).phase == "ready"


def test_an_order_too_large_for_one_message_goes_in_parts_and_fails_only_what_is_too_large_alone(
    world: World, loop: Loop, memory: MemoryNode
) -> None:
    sites = [declare(world, f"n{number}.test") for number in range(3)]
    huge = f"site:{sites[1]}"

    def refuse_large(order: NodeOrder) -> None:
        if len(order.desired) > 2 or huge in [desired.subject for desired in order.desired]:
            raise QueueError("A message of 9 MB exceeds what a queue takes.")

    memory.before = refuse_large
    loop.run("site")
    assert [row_of(world, site_id).phase for site_id in sites] == ["ready", "failed", "ready"]


def test_a_node_that_does_not_answer_holds_up_no_other(
    world: World, loop: Loop, memory: MemoryNode, node: Node
) -> None:
    with world.database.write() as uow:
        other = register(uow, node.model_copy(update={"name": "other"}), uid_first=200_000)
        other.facts = {"php": ["8.2"]}
    sites = [declare(world, "first.test"), declare(world, "second.test")]
    assert {row_of(world, site_id).node_id for site_id in sites} != {other.id}
    both = threading.Barrier(2, timeout=10)

    def wait_for_the_other(order: NodeOrder) -> None:
        both.wait()

    memory.before = wait_for_the_other
    loop.run("site")
    assert [row_of(world, site_id).phase for site_id in sites] == ["ready", "ready"]
